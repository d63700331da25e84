"""WSGI apps that answer in all the right ways that PEP 3333 allows."""

import sys
import time

from board import Board
from cases import Cases

case = Cases()

PLAIN = [("Content-Type", "text/plain")]


def app(environ, start_response):
    return case[environ["PATH_INFO"]](environ, start_response)


class Closing:
    """An iterable whose `close()` leaves a note."""

    def __init__(self, board, blocks):
        self.board = board
        self.blocks = iter(blocks)

    def __iter__(self):
        return self

    def __next__(self):
        return next(self.blocks)

    def close(self):
        self.board.note("closed")


@case
def hello(environ, start_response):
    start_response("200 OK", PLAIN)
    return [b"hello"]


@case
def late_start(environ, start_response):
    start_response("201 Created", [*PLAIN, ("X-Late", "yes")])
    yield b"late"


@case
def through_write(environ, start_response):
    write = start_response("200 OK", PLAIN)
    write(b"one ")
    write(b"two ")
    return [b"three"]


@case
def one_block(environ, start_response):
    start_response("200 OK", PLAIN)
    return [b"one"]


@case
def nothing_but_a_head(environ, start_response):
    start_response("200 OK", PLAIN)
    return []


@case
def empty_generator(environ, start_response):
    start_response("200 OK", PLAIN)
    yield from ()


@case
def block_by_block(environ, start_response):
    board = Board.of(environ)
    start_response("200 OK", PLAIN)
    yield b"first"
    board.wait("second")
    yield b"second"


@case
def closing(environ, start_response):
    start_response("200 OK", PLAIN)
    return Closing(Board.of(environ), [b"a", b"b"])


@case
def not_modified(environ, start_response):
    start_response("304 Not Modified", [("ETag", '"x"')])
    return Closing(Board.of(environ), [b"must not be sent"])


@case
def no_content(environ, start_response):
    start_response("204 No Content", [])
    return [b"must not be sent"]


@case
def two_cookies(environ, start_response):
    start_response("200 OK", [("Set-Cookie", "a=1"), ("X-Between", ""), ("Set-Cookie", "b=2")])
    return [b""]


@case
def own_reason(environ, start_response):
    start_response("299 Quite Fine", PLAIN)
    return [b""]


@case
def replaced_head(environ, start_response):
    start_response("200 OK", PLAIN)
    try:
        raise ValueError("handled by the app")
    except ValueError:
        start_response("503 Sorry", PLAIN, sys.exc_info())
    return [b"sorry"]


@case
def as_tuple(environ, start_response):
    start_response("200 OK", PLAIN)
    return (b"a", b"tuple")


@case
def unknown_length(environ, start_response):
    start_response("200 OK", PLAIN)
    yield b"x" * 10
    yield b"y" * 10


@case
def hop_by_hop(environ, start_response):
    headers = [("Connection", "X-Secret"), ("Keep-Alive", "timeout=99"), ("Upgrade", "x")]
    start_response("200 OK", [*PLAIN, *headers, ("Transfer-Encoding", "chunked")])
    return [b"body"]


@case
def sleepy(environ, start_response):
    board = Board.of(environ)
    board.note("running")
    time.sleep(0.02)
    board.note("done")
    start_response("200 OK", PLAIN)
    return [b"rested"]


@case
def endless(environ, start_response):
    """Sends until nobody listens, and notes how it ended."""
    board = Board.of(environ)
    start_response("200 OK", PLAIN)

    def blocks():
        try:
            while True:
                board.note("sent")
                yield bytes(65536)
        finally:
            board.note("closed")

    return blocks()
