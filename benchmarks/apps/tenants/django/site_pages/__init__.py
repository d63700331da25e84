"""The site's own Django app."""
