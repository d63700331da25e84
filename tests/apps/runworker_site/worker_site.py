"""Django with Channels: a view that gives a job to `manage.py runworker`."""

import os
from pathlib import Path

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "worker_settings")

from channels.consumer import AsyncConsumer
from channels.layers import get_channel_layer
from channels.routing import ChannelNameRouter, ProtocolTypeRouter
from django.core.asgi import get_asgi_application
from django.http import JsonResponse
from django.urls import path


class Printer(AsyncConsumer):
    async def print_it(self, message):
        (Path(os.environ["NOTES"]) / "printed").write_text(f"{message['text']} {os.getpid()}")


async def send(request):
    await get_channel_layer().send("printer", {"type": "print.it", "text": "a page"})
    return JsonResponse({"pid": os.getpid()})


urlpatterns = [path("send", send)]
app = ProtocolTypeRouter(
    {
        "http": get_asgi_application(),
        "channel": ChannelNameRouter({"printer": Printer.as_asgi()}),
    }
)
