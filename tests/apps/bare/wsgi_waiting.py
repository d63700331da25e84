"""A WSGI app whose requests wait for their clients, and note how many of them run."""

import threading

from board import Board
from cases import Cases

case = Cases()

PLAIN = [("Content-Type", "text/plain")]
MIB = 1 << 20


def app(environ, start_response):
    return case[environ["PATH_INFO"]](environ, start_response)


def answer(start_response, text):
    start_response("200 OK", PLAIN)
    return [text.encode()]


@case
def hello(environ, start_response):
    return answer(start_response, "hello")


@case
def sends(environ, start_response):
    """32 MiB, in blocks of 1 MiB."""
    Board.of(environ).note("sends")
    start_response("200 OK", PLAIN)
    for _ in range(32):
        yield bytes(MIB)


@case
def reads(environ, start_response):
    """Its whole body, and then what runs counts."""
    board = Board.of(environ)
    board.note("reads")
    size = len(environ["wsgi.input"].read())
    with Running(board):
        return answer(start_response, str(size))


@case
def runs(environ, start_response):
    """Runs until it may end."""
    board = Board.of(environ)
    with Running(board):
        board.wait("go")
    return answer(start_response, "ran")


class Running:
    """Notes how many requests run, whenever one begins to."""

    lock = threading.Lock()
    count = 0

    def __init__(self, board):
        self.board = board

    def __enter__(self):
        with self.lock:
            Running.count += 1
            self.board.note("running", Running.count)

    def __exit__(self, *_):
        with self.lock:
            Running.count -= 1
