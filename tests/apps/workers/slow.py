"""A WSGI app whose import waits for "go" once its board has the note "hold"."""

import os

from board import Board

board = Board(os.environ["NOTES"])
board.note("loading", os.getpid())
if board.has("hold"):
    board.wait("go")


def app(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"%d" % os.getpid()]
