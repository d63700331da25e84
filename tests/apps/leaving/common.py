"""What the streams of all frameworks here do, and the middleware that an error tracker would be."""

import asyncio
import gc

from board import Board


async def quiet(board, piece=b"piece\n"):
    """One piece, then nothing."""
    try:
        yield piece
        board.note("running")
        await asyncio.Event().wait()
    finally:
        board.note("closed")


async def busy(board, piece=b"piece\n"):
    """One piece after the other."""
    try:
        board.note("running")
        while True:
            yield piece
            await asyncio.sleep(0.01)
    finally:
        board.note("closed")


async def tight(board):
    """The same without waiting for anything but the client."""
    try:
        board.note("running")
        while True:
            yield bytes(65536)
    finally:
        board.note("closed")


async def poll(board):
    """Something that takes longer than the client has patience."""
    board.note("running")
    try:
        await board.until("go")
    finally:
        board.note("closed")


class Tracker:
    """Notes each exception that comes out of the application, as Sentry's middleware would."""

    def __init__(self, app):
        self._app = app

    async def __call__(self, scope, receive, send):
        if scope["path"] == "/hello":
            gc.collect()
            await self._app(scope, receive, send)
            return
        board = Board.of(scope)
        try:
            await self._app(scope, receive, send)
        except BaseException as error:
            board.note("error", repr(error))
            raise
        finally:
            board.note("ended")
