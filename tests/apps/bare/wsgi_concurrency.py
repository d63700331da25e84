"""A WSGI app whose requests wait for tests and clients, and count how many of them run at once."""

import threading
import time
from contextlib import contextmanager

from board import Board
from cases import Cases

case = Cases()

PLAIN = [("Content-Type", "text/plain")]
MIB = 1 << 20


class Gauge:
    """How many requests run now, and how many did at most."""

    def __init__(self):
        self.lock = threading.Lock()
        self.running = 0
        self.most = 0

    @contextmanager
    def runs(self, board=None):
        """Notes on the board how many run with this one."""
        with self.lock:
            self.running += 1
            self.most = max(self.most, self.running)
            if board is not None:
                board.note("running", self.running)
        try:
            yield
        finally:
            with self.lock:
                self.running -= 1


gauge = Gauge()


def app(environ, start_response):
    return case[environ["PATH_INFO"]](environ, start_response)


def answer(start_response, text):
    start_response("200 OK", PLAIN)
    return [text.encode()]


@case
def hello(environ, start_response):
    return answer(start_response, "hello")


@case
def most(environ, start_response):
    return answer(start_response, str(gauge.most))


@case
def naps(environ, start_response):
    with gauge.runs():
        time.sleep(0.02)
    return answer(start_response, "rested")


@case
def waits(environ, start_response):
    """Runs until it may end."""
    board = Board.of(environ)
    with gauge.runs(board):
        board.wait("go")
    return answer(start_response, "done")


@case
def busy(environ, start_response):
    """Keeps the interpreter to itself as far as it is let."""
    board = Board.of(environ)
    board.note("running")
    while not board.has("go"):
        sum(range(10_000))
    return answer(start_response, "done")


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
    with gauge.runs(board):
        return answer(start_response, str(size))
