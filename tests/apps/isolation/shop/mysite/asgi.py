import os

from channels.routing import ProtocolTypeRouter, URLRouter
from django.core.asgi import get_asgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "mysite.settings")
http = get_asgi_application()

from django.urls import path  # noqa: E402
from items.consumers import Talk  # noqa: E402  (needs the models)

application = ProtocolTypeRouter(
    {"http": http, "websocket": URLRouter([path("talk/", Talk.as_asgi())])}
)
