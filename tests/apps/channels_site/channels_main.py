"""Django with Channels: a view, and a consumer that talks to a group."""

import json

import django
from django.conf import settings

settings.configure(
    SECRET_KEY="only a test",
    ALLOWED_HOSTS=["127.0.0.1"],
    ROOT_URLCONF=__name__,
    INSTALLED_APPS=["channels"],
    CHANNEL_LAYERS={"default": {"BACKEND": "channels.layers.InMemoryChannelLayer"}},
)
django.setup()

from channels.generic.websocket import AsyncWebsocketConsumer, WebsocketConsumer  # noqa: E402
from channels.routing import ProtocolTypeRouter, URLRouter  # noqa: E402
from django.core.asgi import get_asgi_application  # noqa: E402
from django.http import JsonResponse  # noqa: E402
from django.urls import path  # noqa: E402


class Room(AsyncWebsocketConsumer):
    """Repeats to all in the room what one says."""

    async def connect(self):
        await self.channel_layer.group_add("room", self.channel_name)
        await self.accept()
        await self.send(json.dumps("joined"))

    async def disconnect(self, code):
        await self.channel_layer.group_discard("room", self.channel_name)
        await self.channel_layer.group_send("room", {"type": "said", "text": f"left: {code}"})

    async def receive(self, text_data=None, bytes_data=None):
        await self.channel_layer.group_send("room", {"type": "said", "text": text_data})

    async def said(self, event):
        await self.send(json.dumps(event["text"]))


class Sync(WebsocketConsumer):
    """A consumer on a thread."""

    def receive(self, text_data=None, bytes_data=None):
        self.send(f"sync {text_data}")


urlpatterns = [path("hello", lambda request: JsonResponse("hello", safe=False))]
app = ProtocolTypeRouter(
    {
        "http": get_asgi_application(),
        "websocket": URLRouter([path("room", Room.as_asgi()), path("sync", Sync.as_asgi())]),
    }
)
