"""WSGI apps that count how many requests they run at once."""

import threading
import time

from board import Board
from cases import Cases

case = Cases()

PLAIN = [("Content-Type", "text/plain")]


class Gauge:
    """How many are inside now, and how many were at most."""

    def __init__(self):
        self.lock = threading.Lock()
        self.inside = 0
        self.most = 0

    def __enter__(self):
        with self.lock:
            self.inside += 1
            self.most = max(self.most, self.inside)

    def __exit__(self, *_):
        with self.lock:
            self.inside -= 1


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
    with gauge:
        time.sleep(0.02)
    return answer(start_response, "rested")


@case
def waits(environ, start_response):
    board = Board.of(environ)
    with gauge:
        board.note("running")
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
