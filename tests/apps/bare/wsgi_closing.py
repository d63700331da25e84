"""WSGI apps whose iterables have a `close()` that leaves a note. It must come exactly once."""

from board import Board
from cases import Cases

case = Cases()

PLAIN = [("Content-Type", "text/plain")]


def app(environ, start_response):
    return case[environ["PATH_INFO"]](environ, start_response)


class Closing:
    """Yields blocks; raises those that are exceptions, and calls those that are functions."""

    def __init__(self, environ, *blocks):
        self.board = Board.of(environ)
        self.blocks = iter(blocks)

    def __iter__(self):
        return self

    def __next__(self):
        block = next(self.blocks)
        if isinstance(block, BaseException):
            raise block
        return block() if callable(block) else block

    def close(self):
        self.board.note("closed")


@case
def hello(environ, start_response):
    start_response("200 OK", PLAIN)
    return [b"hello"]


# In order


@case
def blocks(environ, start_response):
    start_response("200 OK", PLAIN)
    return Closing(environ, b"a", b"b")


@case
def nothing(environ, start_response):
    start_response("200 OK", PLAIN)
    return Closing(environ)


@case
def exact_length(environ, start_response):
    start_response("200 OK", [*PLAIN, ("Content-Length", "2")])
    return Closing(environ, b"a", b"b")


@case
def no_content(environ, start_response):
    start_response("204 No Content", [])
    return Closing(environ, b"must not be sent")


@case
def not_modified(environ, start_response):
    start_response("304 Not Modified", [("ETag", '"x"')])
    return Closing(environ, b"must not be sent")


@case
def after_write(environ, start_response):
    write = start_response("200 OK", PLAIN)
    write(b"a")
    return Closing(environ, b"b")


@case
def a_list_that_closes(environ, start_response):
    class Blocks(list):
        def close(self):
            Board.of(environ).note("closed")

    start_response("200 OK", PLAIN)
    return Blocks([b"a", b"b"])


@case
def a_generator(environ, start_response):
    """Its `finally` is run by the end or by close()."""
    start_response("200 OK", PLAIN)
    try:
        yield b"a"
        yield b"b"
    finally:
        Board.of(environ).note("closed")


@case
def an_iterable_apart_from_its_iterator(environ, start_response):
    class Apart(Closing):
        def __iter__(self):
            return iter([b"a", b"b"])

    start_response("200 OK", PLAIN)
    return Apart(environ)


# With mistakes


@case
def fails_before_the_first_block(environ, start_response):
    start_response("200 OK", PLAIN)
    return Closing(environ, ValueError("planted: first"))


@case
def fails_before_start_response(environ, start_response):
    return Closing(environ, b"no head for this")


@case
def fails_to_iterate(environ, start_response):
    class Failing(Closing):
        def __iter__(self):
            raise ValueError("planted: iter")

    start_response("200 OK", PLAIN)
    return Failing(environ)


@case
def yields_text(environ, start_response):
    start_response("200 OK", PLAIN)
    return Closing(environ, "text")


@case
def fails_mid_stream(environ, start_response):
    start_response("200 OK", PLAIN)
    return Closing(environ, b"a", ValueError("planted: mid stream"))


@case
def exits_mid_stream(environ, start_response):
    start_response("200 OK", PLAIN)
    return Closing(environ, b"a", SystemExit(3))


@case
def too_short(environ, start_response):
    start_response("200 OK", [*PLAIN, ("Content-Length", "10")])
    return Closing(environ, b"a")


@case
def too_long(environ, start_response):
    start_response("200 OK", [*PLAIN, ("Content-Length", "1")])
    return Closing(environ, b"a", b"b", b"c")


def failing_close(environ, error):
    class Failing(Closing):
        def close(self):
            super().close()
            raise error

    return Failing(environ, b"a", b"b")


@case
def close_fails(environ, start_response):
    start_response("200 OK", PLAIN)
    return failing_close(environ, ValueError("planted: close"))


@case
def close_exits(environ, start_response):
    start_response("200 OK", PLAIN)
    return failing_close(environ, SystemExit(3))


# With somebody who leaves or waits


@case
def waits_before_the_first_block(environ, start_response):
    board = Board.of(environ)
    board.note("running")
    board.wait("go")
    start_response("200 OK", PLAIN)
    return Closing(environ, b"a", b"b")


@case
def waits_between_blocks(environ, start_response):
    board = Board.of(environ)

    def second():
        board.note("running")
        board.wait("go")
        return b"b"

    start_response("200 OK", PLAIN)
    return Closing(environ, b"a", second)


@case
def waits_and_fails(environ, start_response):
    board = Board.of(environ)

    def second():
        board.note("running")
        board.wait("go")
        raise ValueError("planted: after the client left")

    start_response("200 OK", PLAIN)
    return Closing(environ, b"a", second)
