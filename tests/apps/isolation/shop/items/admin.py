from django.contrib import admin
from name import NAME

from items.models import Item

admin.site.site_header = f"Administration of {NAME}"
admin.site.register(Item)
