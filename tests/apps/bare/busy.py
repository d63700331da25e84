"""Functions that are at work until the test says so, for profiles. The path names where."""

import asyncio
import os
import threading

from board import Board


def reckon(board):
    """Busy in Python until the board has the note. Says when its worker takes a profile."""
    board.note("busy")
    is_profiled = False
    while not board.has("enough"):
        sum(range(1000))
        if not is_profiled and "caddy-profile" in {one.name for one in threading.enumerate()}:
            is_profiled = True
            board.note("profiled", os.getpid())


def rest(board):
    board.note("busy")
    board.wait("enough")


def alone(board):
    reckon(board)


def app(environ, start_response):
    board = Board.of(environ)
    path = environ["PATH_INFO"]
    if path == "/reckons":
        reckon(board)
    elif path == "/rests":
        rest(board)
    elif path == "/starts":
        threading.Thread(target=alone, args=(board,), name="alone").start()
    start_response("200 OK", [])
    return [b"done"]


async def asgi(scope, receive, send):
    board = Board.of(scope)
    path = scope["path"]
    if path == "/reckons":
        reckon(board)
    elif path == "/awaits":
        await deep(board)
    elif path == "/elsewhere":
        await asyncio.to_thread(reckon, board)
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"done"})


async def deep(board):
    await asyncio.sleep(0)
    reckon(board)


def other(environ, start_response):
    """Another app, in the same module's name."""
    other_reckons(Board.of(environ))
    start_response("200 OK", [])
    return [b"done"]


def other_reckons(board):
    board.note("busy")
    while not board.has("enough"):
        sum(range(1000))
