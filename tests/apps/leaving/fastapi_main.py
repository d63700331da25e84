from board import Board
from common import Tracker, busy, poll, quiet
from fastapi import FastAPI, Request
from fastapi.responses import StreamingResponse
from fastapi.sse import EventSourceResponse

site = FastAPI()


@site.get("/hello")
async def hello():
    return "hello"


@site.get("/quiet")
async def show_quiet(request: Request):
    return StreamingResponse(quiet(Board.of(request.scope)))


@site.get("/busy")
async def show_busy(request: Request):
    return StreamingResponse(busy(Board.of(request.scope)))


@site.get("/events", response_class=EventSourceResponse)
async def show_events(request: Request):
    async for piece in busy(Board.of(request.scope), "piece"):
        yield piece


@site.get("/quiet_events", response_class=EventSourceResponse)
async def show_quiet_events(request: Request):
    async for piece in quiet(Board.of(request.scope), "piece"):
        yield piece


@site.get("/poll")
async def show_poll(request: Request):
    await poll(Board.of(request.scope))
    return "late"


app = Tracker(site)
