"""WSGI apps that answer in all the right ways that PEP 3333 allows: heads, lengths, no bodies."""

import sys

from board import Board
from cases import Cases

case = Cases()

TYPE = ("Content-Type", "text/plain")
PLAIN = [TYPE]


def app(environ, start_response):
    return case[environ["PATH_INFO"]](environ, start_response)


@case
def hello(environ, start_response):
    start_response("200 OK", PLAIN)
    return [b"hello"]


# start_response


@case
def late_start(environ, start_response):
    start_response("201 Created", [*PLAIN, ("X-Late", "yes")])
    yield b"late"


@case
def late_start_after_empty_blocks(environ, start_response):
    def blocks():
        start_response("201 Created", PLAIN)
        yield b""
        yield b""
        yield b"late"

    return blocks()


@case
def named_arguments(environ, start_response):
    start_response(headers=PLAIN, status="200 OK", exc_info=None)
    return [b"called"]


@case
def status_without_a_reason(environ, start_response):
    start_response("200", PLAIN)
    return [b"called"]


def replace(start_response):
    try:
        raise ValueError("handled by the app")
    except ValueError:
        return start_response("503 Sorry", PLAIN, sys.exc_info())


@case
def replaced_head(environ, start_response):
    start_response("200 OK", [*PLAIN, ("X-First", "yes"), ("Content-Length", "100")])
    replace(start_response)
    return [b"sorry"]


@case
def replaced_after_empty_blocks(environ, start_response):
    start_response("200 OK", PLAIN)
    yield b""
    replace(start_response)
    yield b"sorry"


@case
def replaced_after_empty_write(environ, start_response):
    write = start_response("200 OK", PLAIN)
    write(b"")
    write = replace(start_response)
    write(b"sorry")
    return []


# The length of the body


@case
def in_one(environ, start_response):
    start_response("200 OK", PLAIN)
    return [b"one"]


@case
def as_tuple(environ, start_response):
    start_response("200 OK", PLAIN)
    return (b"a", b"tuple")


@case
def many_blocks(environ, start_response):
    start_response("200 OK", PLAIN)
    return [b"", *[b"xy"] * 1000]


@case
def one_of_a_kind(environ, start_response):
    """An iterable of one block whose length can be asked."""

    class Single:
        def __len__(self):
            return 1

        def __iter__(self):
            return iter([b"one"])

    start_response("200 OK", PLAIN)
    return Single()


@case
def own_length(environ, start_response):
    start_response("200 OK", [*PLAIN, ("content-length", "10")])
    yield b"x" * 5
    yield b"y" * 5


@case
def unknown_length(environ, start_response):
    start_response("200 OK", PLAIN)
    yield b"x" * 5
    yield b"x" * 5


@case
def nothing(environ, start_response):
    start_response("200 OK", PLAIN)
    return []


@case
def no_body_for_head(environ, start_response):
    """What Werkzeug makes of a stream."""
    start_response("200 OK", PLAIN)
    return () if environ["REQUEST_METHOD"] == "HEAD" else iter([b"one", b"two"])


@case
def empty_generator(environ, start_response):
    start_response("200 OK", PLAIN)
    yield from ()


@case
def nothing_in_pieces(environ, start_response):
    start_response("200 OK", PLAIN)
    yield b""
    yield b""


@case
def subclass_of_bytes(environ, start_response):
    class Bytes(bytes):
        pass

    start_response("200 OK", PLAIN)
    return [Bytes(b"kind of bytes")]


# No body


@case
def own_status(environ, start_response):
    start_response(f"{environ['QUERY_STRING']} As Asked", PLAIN)
    return [b"as asked"]


@case
def own_status_in_pieces(environ, start_response):
    start_response(f"{environ['QUERY_STRING']} As Asked", PLAIN)
    yield b"as "
    yield b"asked"


@case
def own_status_with_length(environ, start_response):
    start_response(f"{environ['QUERY_STRING']} As Asked", [*PLAIN, ("Content-Length", "8")])
    return [b"as asked"]


@case
def own_status_written(environ, start_response):
    write = start_response(f"{environ['QUERY_STRING']} As Asked", PLAIN)
    write(b"as ")
    write(b"asked")
    return []


@case
def own_status_alone(environ, start_response):
    start_response(f"{environ['QUERY_STRING']} As Asked", [("ETag", '"x"')])
    return []


@case
def through_write(environ, start_response):
    write = start_response("200 OK", PLAIN)
    write(b"one ")
    write(b"two ")
    return [b"three"]


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


# Headers


@case
def repeated_headers(environ, start_response):
    headers = [("Set-Cookie", "a=1"), ("X-Between", ""), ("set-cookie", "b=2")]
    start_response("200 OK", [*PLAIN, *headers])
    return [b"two"]


@case
def odd_values(environ, start_response):
    headers = [("X-Latin", "caf\u00e9 \u00ff"), ("X-Empty", ""), ("X-Long", "x" * 20_000)]
    start_response("200 OK", [*PLAIN, ("X-Space", " \ta b\t "), *headers])
    return [b""]


HOP_BY_HOP = [
    ("Connection", "X-Secret"),
    ("Keep-Alive", "timeout=99"),
    ("Proxy-Connection", "keep-alive"),
    ("TE", "trailers"),
    ("Transfer-Encoding", "chunked"),
    ("Upgrade", "x"),
]


@case
def hop_by_hop(environ, start_response):
    start_response("200 OK", [*PLAIN, *HOP_BY_HOP])
    return [b"body"]


@case
def hop_by_hop_in_pieces(environ, start_response):
    start_response("200 OK", [*PLAIN, *HOP_BY_HOP])
    yield b"bo"
    yield b"dy"


@case
def hop_by_hop_with_length(environ, start_response):
    start_response("200 OK", [*PLAIN, *HOP_BY_HOP, ("Content-Length", "4")])
    yield b"bo"
    yield b"dy"


@case
def wants_to_close(environ, start_response):
    start_response("200 OK", [*PLAIN, ("Connection", "close")])
    return [b"body"]


@case
def announces_trailers(environ, start_response):
    start_response("200 OK", [*PLAIN, ("Trailer", "X-Sum"), ("X-Sum", "1")])
    yield b"bo"
    yield b"dy"


@case
def dated(environ, start_response):
    headers = [("Date", "Mon, 01 Jan 2001 00:00:00 GMT"), ("Server", "of the app")]
    start_response("200 OK", [*PLAIN, *headers])
    return [b"dated"]


@case
def no_type(environ, start_response):
    start_response("200 OK", [])
    return [b"<html>"]
