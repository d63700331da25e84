"""Makes the database: `python prepare.py <users>`."""

import os
import sys

import django
from django.core.management import call_command

os.environ["DJANGO_SETTINGS_MODULE"] = "settings"
django.setup()

from django.contrib.auth.models import User  # noqa: E402
from items.models import Item  # noqa: E402

call_command("migrate", run_syncdb=True, verbosity=0)
for number in range(int(sys.argv[1])):
    User.objects.create_superuser(f"user{number}", password="secret")
Item.objects.bulk_create([Item(name=f"item {number}") for number in range(20)])
