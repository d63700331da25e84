"""A Django project with the admin, sessions, static files and a SQLite database."""
