"""The project as an ASGI app."""

from django.core.asgi import get_asgi_application

application = get_asgi_application()
