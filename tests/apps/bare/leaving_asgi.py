"""ASGI apps whose clients leave at every stage. `closed` notes that the app came to its end."""

import asyncio

from board import Board
from cases import Cases

case = Cases()


async def app(scope, receive, send):
    assert scope["type"] == "http"
    await case[scope["path"]](scope, receive, send)


async def answer(send, body):
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": body})


@case
async def hello(scope, receive, send):
    await answer(send, b"hello")


@case
async def tasks(scope, receive, send):
    """How many other tasks this app's loop has."""
    await answer(send, str(len(asyncio.all_tasks()) - 1).encode())


@case
async def reads(scope, receive, send):
    board = Board.of(scope)
    board.note("running")
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            board.note("closed")
            return
        if not message.get("more_body", False):
            board.note("taken for whole")
            return


@case
async def runs(scope, receive, send):
    board = Board.of(scope)
    board.note("running")
    await board.until("go")
    board.note("closed")
    await answer(send, b"nobody is there")


@case
async def streams(scope, receive, send):
    board = Board.of(scope)
    board.note("running")
    try:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        while True:
            await send({"type": "http.response.body", "body": bytes(65536), "more_body": True})
    finally:
        board.note("closed")


@case
async def listens(scope, receive, send):
    board = Board.of(scope)
    while (await receive())["type"] != "http.disconnect":
        board.note("running")
    board.note("closed")
