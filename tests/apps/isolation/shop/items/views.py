import django
from asgiref.sync import sync_to_async
from django.apps import apps
from django.conf import settings
from django.db import connection
from django.http import JsonResponse
from django.utils.translation import gettext_lazy, pgettext_lazy
from rest_framework import serializers, viewsets
from rest_framework.settings import api_settings

from items.models import Item


class ItemSerializer(serializers.ModelSerializer):
    class Meta:
        model = Item
        fields = "__all__"


class ItemViewSet(viewsets.ModelViewSet):
    queryset = Item.objects.all()
    serializer_class = ItemSerializer


def about(request):
    return JsonResponse(
        {
            "site": settings.SITE_NAME,
            "fields": [field.name for field in Item._meta.fields],
            "model": apps.get_model("items", "Item") is Item,
            "database": connection.settings_dict["NAME"].parent.name,
            "renderer": api_settings.DEFAULT_RENDERER_CLASSES[0].__name__,
            "django": id(django),
            "django's path": id(django.__file__),
            "lazy methods": [
                id(type(text).split) for text in (gettext_lazy("a"), pgettext_lazy("a", "b"))
            ],
        }
    )


async def asynchronous(request):
    count = await Item.objects.acount()
    name = await sync_to_async(lambda: settings.SITE_NAME)()
    return JsonResponse({"site": name, "count": count})
