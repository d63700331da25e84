"""WSGI apps that break the rules. None may crash, hang or leak, and none may look like success."""

import sys

from board import Board
from cases import Cases
from wsgi_closing import Closing

case = Cases()

PLAIN = [("Content-Type", "text/plain")]


def app(environ, start_response):
    return case[environ["PATH_INFO"]](environ, start_response)


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
def never_starts_an_empty_list(environ, start_response):
    return []


@case
def never_starts_a_generator(environ, start_response):
    yield b"no head for this"


@case
def never_starts_an_empty_generator(environ, start_response):
    yield from ()


@case
def starts_twice(environ, start_response):
    start_response("200 OK", PLAIN)
    start_response("200 OK", PLAIN)
    return [b"twice"]


@case
def starts_twice_in_a_generator(environ, start_response):
    start_response("200 OK", PLAIN)
    yield b""
    start_response("200 OK", PLAIN)
    yield b"twice"


@case
def starts_with_too_little(environ, start_response):
    start_response("200 OK")
    return [b"must not be sent"]


@case
def starts_with_something_else(environ, start_response):
    start_response("200 OK", PLAIN, kind="other")
    return [b"must not be sent"]


@case
def starts_with_no_exc_info(environ, start_response):
    start_response("200 OK", PLAIN, ValueError("planted"))
    return [b"must not be sent"]


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
def no_block(environ, start_response):
    start_response("200 OK", PLAIN)
    yield None


@case
def bytearray_block(environ, start_response):
    start_response("200 OK", PLAIN)
    return [bytearray(b"array")]


@case
def memoryview_block(environ, start_response):
    start_response("200 OK", PLAIN)
    yield memoryview(b"view")


@case
def text_among_blocks(environ, start_response):
    start_response("200 OK", PLAIN)
    return [b"bytes", "text"]


@case
def text_written(environ, start_response):
    start_response("200 OK", PLAIN)("text")
    return []


@case
def bytes_instead_of_blocks(environ, start_response):
    """They iterate as numbers since Python 3."""
    start_response("200 OK", PLAIN)
    return b"bytes"


@case
def number_instead_of_blocks(environ, start_response):
    start_response("200 OK", PLAIN)
    return 7


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
def bad_status(environ, start_response):
    status = {
        "99": "99 Low",
        "100": "100 Continue",
        "101": "101 Switching Protocols",
        "103": "103 Early Hints",
        "199": "199 Nearly",
        "glued": "200OK",
        "bytes": b"200 OK",
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
        "control": ("X-Bad", "a\x1bb"),
        "delete": ("X-Bad", "a\x7f"),
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


@case
def bad_length(environ, start_response):
    lengths = {
        "text": ["ten"],
        "negative": ["-1"],
        "signed": ["+5"],
        "fraction": ["5.0"],
        "empty": [""],
        "list": ["5, 5"],
        "huge": ["9" * 30],
        "different": ["5", "6"],
    }[environ["QUERY_STRING"]]
    start_response("200 OK", [*PLAIN, *[("Content-Length", length) for length in lengths]])
    return [b"12345"]


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
def starts_again_mid_stream(environ, start_response):
    start_response("200 OK", PLAIN)
    yield b"x" * 1000
    start_response("200 OK", PLAIN)
    yield b"must not be sent"


@case
def replaces_a_sent_head(environ, start_response):
    """start_response must raise the very exception that it was given."""
    start_response("200 OK", PLAIN)
    yield b"x" * 1000
    try:
        raise ValueError("planted: too late")
    except ValueError as mine:
        try:
            start_response("500 Sorry", PLAIN, sys.exc_info())
        except ValueError as raised:
            Board.of(environ).note("raised", raised is mine)
            raise
    yield b"must not be sent"


@case
def replaces_a_written_head(environ, start_response):
    write = start_response("200 OK", PLAIN)
    write(b"x" * 1000)
    try:
        raise ValueError("planted: too late")
    except ValueError:
        start_response("500 Sorry", PLAIN, sys.exc_info())
    return [b"must not be sent"]


@case
def raises_after_write(environ, start_response):
    write = start_response("200 OK", PLAIN)
    write(b"x" * 1000)
    raise ValueError("planted: after write")


# Against the Content-Length


def promise(start_response, length):
    return start_response("200 OK", [*PLAIN, ("Content-Length", str(length))])


@case
def too_short_by_blocks(environ, start_response):
    promise(start_response, 10)
    yield b"12345"


@case
def too_short_as_list(environ, start_response):
    promise(start_response, 10)
    return [b"12345"]


@case
def too_short_by_write(environ, start_response):
    promise(start_response, 10)(b"12345")
    return []


@case
def nothing_as_list(environ, start_response):
    promise(start_response, 10)
    return []


@case
def nothing_by_blocks(environ, start_response):
    promise(start_response, 10)
    yield from ()


SMUGGLED = b"HTTP/1.1 200 OK\r\nX-Smuggled: 1\r\n\r\n"


@case
def too_long_by_blocks(environ, start_response):
    promise(start_response, 5)
    yield b"12345"
    yield SMUGGLED


@case
def too_long_within_a_block(environ, start_response):
    promise(start_response, 5)
    yield b"123"
    yield b"45" + SMUGGLED


@case
def too_long_as_list(environ, start_response):
    promise(start_response, 5)
    return [b"12345", SMUGGLED]


@case
def too_long_by_write(environ, start_response):
    write = promise(start_response, 5)
    write(b"123")
    write(b"45" + SMUGGLED)
    return []


@case
def too_long_after_write(environ, start_response):
    promise(start_response, 5)(b"12345")
    return [SMUGGLED]
