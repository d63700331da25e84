"""A room of Channels, for sockets of all workers: Redis, which `REDIS_URL` names, connects them."""

import os

import django
from django.conf import settings

LAYER = {
    "BACKEND": "channels_redis.core.RedisChannelLayer",
    "CONFIG": {"hosts": [os.environ["REDIS_URL"]]},
}
settings.configure(
    SECRET_KEY="only a test",
    ALLOWED_HOSTS=["127.0.0.1"],
    ROOT_URLCONF=__name__,
    INSTALLED_APPS=["channels"],
    CHANNEL_LAYERS={"default": LAYER},
)
django.setup()

from channels.generic.websocket import AsyncWebsocketConsumer  # noqa: E402
from channels.routing import ProtocolTypeRouter, URLRouter  # noqa: E402
from django.core.asgi import get_asgi_application  # noqa: E402
from django.urls import path  # noqa: E402


class Room(AsyncWebsocketConsumer):
    """Tells who comes which process it is in, and repeats to all what one says."""

    async def connect(self):
        await self.channel_layer.group_add("room", self.channel_name)
        await self.accept()
        await self.send(str(os.getpid()))

    async def disconnect(self, code):
        await self.channel_layer.group_discard("room", self.channel_name)

    async def receive(self, text_data=None, bytes_data=None):
        await self.channel_layer.group_send("room", {"type": "said", "text": text_data})

    async def said(self, event):
        await self.send(event["text"])


urlpatterns = []
app = ProtocolTypeRouter(
    {"http": get_asgi_application(), "websocket": URLRouter([path("room", Room.as_asgi())])}
)
