"""WSGI apps that break the rules. None may crash, hang or leak, and none may look like success."""

import sys

from board import Board
from cases import Cases

case = Cases()

PLAIN = [("Content-Type", "text/plain")]


def app(environ, start_response):
    return case[environ["PATH_INFO"]](environ, start_response)


class Closing:
    """Yields blocks, raising those that are exceptions, and notes its `close()`."""

    def __init__(self, environ, *blocks):
        self.board = Board.of(environ)
        self.blocks = iter(blocks)

    def __iter__(self):
        return self

    def __next__(self):
        block = next(self.blocks)
        if isinstance(block, BaseException):
            raise block
        return block

    def close(self):
        self.board.note("closed")


@case
def hello(environ, start_response):
    start_response("200 OK", PLAIN)
    return [b"hello"]


# Before the head


@case
def raises(environ, start_response):
    raise ValueError("planted: raises")


@case
def returns_nothing(environ, start_response):
    start_response("200 OK", PLAIN)


@case
def never_starts(environ, start_response):
    return [b"no head for this"]


@case
def starts_twice(environ, start_response):
    start_response("200 OK", PLAIN)
    start_response("200 OK", PLAIN)
    return [b"twice"]


@case
def raises_on_first_next(environ, start_response):
    start_response("200 OK", PLAIN)
    raise ValueError("planted: first next")
    yield b""


@case
def empty_blocks_then_raises(environ, start_response):
    start_response("200 OK", PLAIN)
    return Closing(environ, b"", b"", ValueError("planted: after empty blocks"))


@case
def text_block(environ, start_response):
    start_response("200 OK", PLAIN)
    return ["text, not bytes"]


@case
def number_block(environ, start_response):
    start_response("200 OK", PLAIN)
    return [42]


@case
def text_instead_of_blocks(environ, start_response):
    start_response("200 OK", PLAIN)
    return "text"


@case
def exits(environ, start_response):
    sys.exit(3)


@case
def interrupts(environ, start_response):
    raise KeyboardInterrupt


@case
def generator_exits(environ, start_response):
    raise GeneratorExit


@case
def close_raises(environ, start_response):
    class Blocks(list):
        def close(self):
            raise ValueError("planted: close")

    start_response("200 OK", PLAIN)
    return Blocks([b"sent before close"])


@case
def bad_status(environ, start_response):
    status = {
        "99": "99 Low",
        "1000": "1000 High",
        "text": "abc",
        "empty": "",
        "negative": "-1 Below",
        "number": 200,
        "none": None,
        "newline": "200 OK\r\nX-Injected: 1",
        "nul": "200 O\0K",
    }[environ["QUERY_STRING"]]
    start_response(status, PLAIN)
    return [b"must not be sent"]


@case
def bad_header(environ, start_response):
    header = {
        "cr": ("X-Bad", "a\rX-Injected: 1"),
        "lf": ("X-Bad", "a\nX-Injected: 1"),
        "crlf": ("X-Bad", "a\r\nX-Injected: 1"),
        "nul": ("X-Bad", "a\0b"),
        "name-space": ("X Bad", "a"),
        "name-colon": ("X:Bad", "a"),
        "name-crlf": ("X-Bad\r\nX-Injected", "a"),
        "name-empty": ("", "a"),
        "name-not-latin": ("X-\u20ac", "a"),
        "value-not-latin": ("X-Bad", "\u20ac"),
        "value-bytes": ("X-Bad", b"a"),
        "value-number": ("X-Bad", 7),
        "not-a-pair": ("X-Bad",),
        "not-a-tuple": "X-Bad: a",
    }[environ["QUERY_STRING"]]
    start_response("200 OK", [*PLAIN, header])
    return [b"must not be sent"]


@case
def headers_are_no_list(environ, start_response):
    start_response("200 OK", None)
    return [b"must not be sent"]


# After the head


@case
def raises_mid_stream(environ, start_response):
    start_response("200 OK", PLAIN)
    return Closing(environ, b"x" * 1000, ValueError("planted: mid stream"))


@case
def exits_mid_stream(environ, start_response):
    start_response("200 OK", PLAIN)
    return Closing(environ, b"x" * 1000, SystemExit(3))


@case
def text_block_mid_stream(environ, start_response):
    start_response("200 OK", PLAIN)
    return Closing(environ, b"x" * 1000, "text, not bytes")


@case
def replaces_a_sent_head(environ, start_response):
    start_response("200 OK", PLAIN)
    yield b"x" * 1000
    try:
        raise ValueError("planted: too late")
    except ValueError:
        start_response("500 Sorry", PLAIN, sys.exc_info())
    yield b"must not be sent"


@case
def promises_more_than_it_sends(environ, start_response):
    start_response("200 OK", [("Content-Length", "10")])
    yield b"12345"


@case
def sends_more_than_it_promised(environ, start_response):
    start_response("200 OK", [("Content-Length", "5")])
    yield b"12345"
    yield b"HTTP/1.1 200 OK\r\nX-Smuggled: 1\r\n\r\n"


@case
def promises_and_sends_nothing(environ, start_response):
    start_response("200 OK", [("Content-Length", "10")])
    return []


@case
def promise_is_no_number(environ, start_response):
    start_response("200 OK", [("Content-Length", "ten")])
    return [b"0123456789"]
