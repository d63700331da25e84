"""The Django site of soak.py: the admin, with sessions and items in SQLite."""

import os

import witness
from django.core.wsgi import get_wsgi_application
from version import VERSION

os.environ["DJANGO_SETTINGS_MODULE"] = "settings"
app = witness.wsgi(get_wsgi_application(), VERSION)
