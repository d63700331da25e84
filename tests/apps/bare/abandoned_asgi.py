"""ASGI apps that go on when their client has left, until `/go`; they never ask receive()."""

import asyncio
import gc

from cases import Cases
from sending import answer

case = Cases()
app = case.asgi
running = set()
cancelled = 0
go = asyncio.Event()


async def run(scope):
    global cancelled
    me = object()
    running.add(me)
    try:
        await go.wait()
    except asyncio.CancelledError:
        cancelled += 1
        raise
    finally:
        running.discard(me)


@case
async def hello(scope, receive, send):
    await answer(send, b"hello")


@case
async def runs(scope, receive, send):
    await run(scope)
    await answer(send, b"nobody is there")


@case
async def stubborn(scope, receive, send):
    try:
        await run(scope)
    except asyncio.CancelledError:
        await run(scope)


@case
async def answered(scope, receive, send):
    await answer(send, b"hello")
    await run(scope)


@case
async def numbers(scope, receive, send):
    """How many run, were cancelled, and are left of requests in memory."""
    gc.collect()
    left = sum(type(o).__name__ == "ASGIExchange" for o in gc.get_objects())
    await answer(send, f"{len(running)} {cancelled} {left}".encode())


@case
async def end(scope, receive, send):
    global go
    go.set()
    go = asyncio.Event()
    await answer(send, b"")
