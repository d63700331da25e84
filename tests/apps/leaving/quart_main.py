from board import Board
from common import Tracker, busy, poll, quiet
from quart import Quart, request

site = Quart(__name__)
site.config["RESPONSE_TIMEOUT"] = None


@site.get("/hello")
async def hello():
    return "hello"


@site.get("/quiet")
async def show_quiet():
    return quiet(Board.of(request.scope))


@site.get("/busy")
async def show_busy():
    return busy(Board.of(request.scope))


@site.get("/events")
async def show_events():
    return busy(Board.of(request.scope), b"data: piece\n\n"), {"Content-Type": "text/event-stream"}


@site.get("/poll")
async def show_poll():
    await poll(Board.of(request.scope))
    return "late"


app = Tracker(site)
