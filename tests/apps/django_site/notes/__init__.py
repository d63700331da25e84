"""Notes: the one model of the project."""
