from board import Board
from common import Tracker, busy, poll, quiet
from litestar import Litestar, Request, get
from litestar.response import ServerSentEvent, Stream


@get("/hello")
async def hello() -> str:
    return "hello"


@get("/quiet")
async def show_quiet(request: Request) -> Stream:
    return Stream(quiet(Board.of(request.scope)))


@get("/busy")
async def show_busy(request: Request) -> Stream:
    return Stream(busy(Board.of(request.scope)))


@get("/events")
async def show_events(request: Request) -> ServerSentEvent:
    return ServerSentEvent(busy(Board.of(request.scope), {"data": "piece"}))


@get("/quiet_events")
async def show_quiet_events(request: Request) -> ServerSentEvent:
    return ServerSentEvent(quiet(Board.of(request.scope), {"data": "piece"}))


@get("/poll")
async def show_poll(request: Request) -> str:
    await poll(Board.of(request.scope))
    return "late"


app = Tracker(
    Litestar(
        [hello, show_quiet, show_busy, show_events, show_quiet_events, show_poll],
        openapi_config=None,
    )
)
