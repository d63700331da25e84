"""An app of which there are many, told apart by their environment."""

import asyncio
import os

from board import Board

NUMBER = os.environ["NUMBER"]


async def answer(send, text):
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": text.encode()})


async def app(scope, receive, send):
    what = scope["path"].rpartition("/")[2]
    if what == "blocks":
        board = Board.of(scope)
        board.note("running")
        board.wait("go")
    elif what == "later":
        for _ in range(3):
            await asyncio.sleep(0)
    await answer(send, NUMBER)
