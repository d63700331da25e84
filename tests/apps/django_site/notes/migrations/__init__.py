"""The history of the notes table."""
