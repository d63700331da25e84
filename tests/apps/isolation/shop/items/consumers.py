from channels.generic.websocket import AsyncJsonWebsocketConsumer
from django.conf import settings

from items.models import Item


class Talk(AsyncJsonWebsocketConsumer):
    """Passes what it hears on to all in the room of the same name, with the site's name."""

    async def connect(self):
        await self.channel_layer.group_add("room", self.channel_name)
        await self.accept()

    async def receive_json(self, content):
        await self.channel_layer.group_send("room", {"type": "said", "text": content})

    async def said(self, event):
        count = await Item.objects.acount()
        await self.send_json({"site": settings.SITE_NAME, "text": event["text"], "count": count})
