"""An ASGI app that goes on after its response, for as many seconds as the query says."""

import asyncio

from board import Board
from sending import answer


async def app(scope, receive, send):
    assert scope["type"] == "http"
    board = Board.of(scope)
    seconds = 3600.0
    if scope["path"] == "/unanswered":
        board.note("waits")
    else:
        await answer(send, b"hello")
        seconds = float(scope["query_string"])
    try:
        await asyncio.sleep(seconds)
        board.note("ended", "done")
    except BaseException as error:
        board.note("ended", type(error).__name__)
        raise
