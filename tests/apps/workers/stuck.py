"""A WSGI and an ASGI app whose requests never end, in Python or in C code that holds the GIL."""

import ctypes
import os
import time

from board import Board

C = ctypes.PyDLL(None)  # whose calls keep the GIL
mutex = ctypes.create_string_buffer(128)
grown = []


def act(path, board):
    if board is not None:
        board.note("begun", os.getpid())
    if path == "/sleeps":
        time.sleep(600)
    if path == "/holds_the_gil":
        C.pthread_mutex_lock(mutex)
        C.pthread_mutex_lock(mutex)  # unlike sleep(), it goes on after a signal
    if path == "/grows":
        grown.append(b"\1" * (100 << 20))
    return b"%d" % os.getpid()


def app(environ, start_response):
    board = Board.of(environ) if "HTTP_X_BOARD" in environ else None
    body = act(environ["PATH_INFO"], board)
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [body]


async def loop(scope, receive, send):
    headers = dict(scope["headers"])
    board = Board(headers[b"x-board"].decode()) if b"x-board" in headers else None
    body = act(scope["path"], board)
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": body})
