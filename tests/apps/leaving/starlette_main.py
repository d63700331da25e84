from board import Board
from common import Tracker, busy, poll, quiet, tight
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.base import BaseHTTPMiddleware
from starlette.responses import PlainTextResponse, StreamingResponse
from starlette.routing import Route


async def hello(request):
    return PlainTextResponse("hello")


async def show_quiet(request):
    return StreamingResponse(quiet(Board.of(request.scope)))


async def show_busy(request):
    return StreamingResponse(busy(Board.of(request.scope)))


async def show_tight(request):
    return StreamingResponse(tight(Board.of(request.scope)))


async def show_poll(request):
    await poll(Board.of(request.scope))
    return PlainTextResponse("late")


async def passes_on(request, call_next):
    return await call_next(request)


routes = [
    Route("/hello", hello),
    Route("/quiet", show_quiet),
    Route("/busy", show_busy),
    Route("/tight", show_tight),
    Route("/poll", show_poll),
]
app = Tracker(Starlette(routes=routes))
# Between the server and the stream are then several tasks.
layered = Tracker(
    Starlette(routes=routes, middleware=[Middleware(BaseHTTPMiddleware, dispatch=passes_on)] * 2)
)
