import django
from board import Board
from common import Tracker, busy, poll, quiet
from django.conf import settings
from django.core.asgi import get_asgi_application
from django.http import HttpResponse, StreamingHttpResponse
from django.urls import path

settings.configure(ROOT_URLCONF=__name__, SECRET_KEY="for tests", ALLOWED_HOSTS=["*"])
django.setup()


def hello(request):
    return HttpResponse("hello")


async def show_quiet(request):
    return StreamingHttpResponse(quiet(Board.of(request.scope)))


async def show_busy(request):
    return StreamingHttpResponse(busy(Board.of(request.scope)))


async def show_events(request):
    events = busy(Board.of(request.scope), b"data: piece\n\n")
    return StreamingHttpResponse(events, content_type="text/event-stream")


async def show_poll(request):
    await poll(Board.of(request.scope))
    return HttpResponse("late")


urlpatterns = [
    path("hello", hello),
    path("quiet", show_quiet),
    path("busy", show_busy),
    path("events", show_events),
    path("poll", show_poll),
]
app = Tracker(get_asgi_application())
