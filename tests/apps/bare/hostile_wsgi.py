"""WSGI apps whose values call back into the server while it reads them. None harms any other."""

import gc
import sys
import threading

from board import Board
from cases import Cases

case = Cases()

PLAIN = [("Content-Type", "text/plain")]


def app(environ, start_response):
    return case[environ["PATH_INFO"]](environ, start_response)


class Calls:
    """An object that calls a function whenever somebody looks at it."""

    def __init__(self, function):
        self.function = function

    def __repr__(self):
        self.function()
        return "hostile"


def error_of(function, *args):
    """The name of the exception that the call raises, or None."""
    try:
        function(*args)
    except BaseException as error:
        return type(error).__name__
    return None


@case
def hello(environ, start_response):
    start_response("200 OK", PLAIN)
    return [b"hello"]


# start_response(…, exc_info)


def begun(environ, start_response, *exc_info):
    start_response("200 OK", PLAIN)(b"begun")
    start_response("500 Oops", [], exc_info)
    return [b"rest"]


@case
def none_is_handled(environ, start_response):
    return begun(environ, start_response, *sys.exc_info())


@case
def numbers_as_exc_info(environ, start_response):
    return begun(environ, start_response, 1, 2, 3)


@case
def too_few_as_exc_info(environ, start_response):
    return begun(environ, start_response, ValueError, ValueError("planted"))


@case
def no_traceback(environ, start_response):
    return begun(environ, start_response, ValueError, ValueError("planted"), "traceback")


@case
def another_class(environ, start_response):
    return begun(environ, start_response, KeyError, ValueError("planted"), None)


@case
def class_without_value(environ, start_response):
    return begun(environ, start_response, ValueError, None, None)


def refused(environ, start_response):
    """A head that the app wants to replace, and what start_response gave for the first."""
    write = start_response("200 OK", [("X-First", "yes")])
    try:
        raise ValueError("planted")
    except ValueError:
        error = error_of(start_response, "500 Oops", [("X-Bad", "a\nb")], sys.exc_info())
    assert error == "ValueError"
    return write


@case
def writes_after_a_refused_head(environ, start_response):
    refused(environ, start_response)(b"x")
    return []


@case
def returns_after_a_refused_head(environ, start_response):
    refused(environ, start_response)
    return [b"x"]


@case
def yields_after_a_refused_head(environ, start_response):
    refused(environ, start_response)
    yield b"x"


@case
def returns_a_file_after_a_refused_head(environ, start_response):
    refused(environ, start_response)
    return environ["wsgi.file_wrapper"](open(__file__, "rb"))


@case
def starts_again_after_a_refused_head(environ, start_response):
    refused(environ, start_response)
    start_response("201 Created", PLAIN)
    return [b"again"]


# Values that call back


@case
def a_header_that_answers(environ, start_response):
    def answers():
        start_response("200 OK", [("Content-Length", "6")])(b"inside")

    start_response("200 OK", [("X-Evil", "v" * 100)] * 100 + [("X-Last", Calls(answers))])
    return [b"outside"]


@case
def a_header_that_starts(environ, start_response):
    def starts():
        start_response("200 OK", [("X-Inner", "yes")])

    start_response("200 OK", [("X-Last", Calls(starts))])
    return [b"outside"]


@case
def a_status_that_answers(environ, start_response):
    def answers():
        start_response("200 OK", [("Content-Length", "6")])(b"inside")

    start_response(Calls(answers), PLAIN)
    return [b"outside"]


@case
def a_header_that_clears_the_list(environ, start_response):
    headers = [[Calls(lambda: (headers[0].clear(), headers.clear(), gc.collect())), "value"]]
    start_response("200 OK", headers)
    return [b"outside"]


@case
def a_list_of_another_length(environ, start_response):
    class Liar(list):
        def __len__(self):
            return 1000

        def __getitem__(self, index):
            raise AssertionError("planted: asked")

        def __iter__(self):
            raise AssertionError("planted: asked")

    class Text(str):
        __slots__ = ()

        def __str__(self):
            raise AssertionError("planted: asked")

        __len__ = __eq__ = __hash__ = __str__

    start_response(Text("200 OK"), Liar([(Text("X-True"), Text("yes"))]))
    return [b"hello"]


@case
def a_block_that_clears_the_list(environ, start_response):
    start_response("200 OK", PLAIN)
    blocks = [b"x", Calls(lambda: (blocks.clear(), gc.collect()))]
    return blocks


class Blocks:
    """An iterable with a length that runs code."""

    def __init__(self, length, *blocks):
        self.length = length
        self.blocks = blocks

    def __len__(self):
        return self.length()

    def __iter__(self):
        return iter(self.blocks)


@case
def a_length_that_lies(environ, start_response):
    start_response("200 OK", PLAIN)
    return Blocks(lambda: 1, b"one", b"two")


@case
def a_length_that_answers(environ, start_response):
    write = start_response("200 OK", [("Content-Length", "6")])
    return Blocks(lambda: write(b"inside") or 1, b"one")


@case
def a_length_that_starts_again(environ, start_response):
    start_response("200 OK", PLAIN)

    def length():
        error_of(start_response, "500 Oops", None, (None, None, None))
        return 1

    return Blocks(length, b"one")


@case
def a_length_that_exits(environ, start_response):
    start_response("200 OK", PLAIN)
    return Blocks(lambda: sys.exit("planted"), b"one")


@case
def an_iterator_that_writes(environ, start_response):
    write = start_response("200 OK", [("Content-Length", "10")])

    def blocks():
        write(b"12345")
        yield b"67890"

    return blocks()


# After the end


class Keeper:
    def __init__(self, environ, result, function):
        self.environ = environ
        self.result = result
        self.function = function

    def __iter__(self):
        return iter(self.result)

    def close(self):
        Board.of(self.environ).note("raised", error_of(self.function, b"late"))


@case
def writes_in_close(environ, start_response):
    return Keeper(environ, [b"hello"], start_response("200 OK", PLAIN))


@case
def starts_in_close(environ, start_response):
    start_response("200 OK", PLAIN)
    return Keeper(environ, [b"hello"], lambda _: start_response("200 OK", PLAIN))


@case
def starts_with_exc_info_in_close(environ, start_response):
    start_response("200 OK", PLAIN)
    nothing = (None, None, None)
    return Keeper(environ, [b"hello"], lambda _: start_response("200 OK", PLAIN, nothing))


@case
def writes_when_it_is_freed(environ, start_response):
    class Freed:
        def __init__(self, write, board):
            self.write = write
            self.board = board

        def __del__(self):
            self.board.note("raised", error_of(self.write, b"late"))

    environ["freed"] = Freed(start_response("200 OK", PLAIN), Board.of(environ))
    return [b"hello"]


@case
def writes_from_a_thread_after_the_end(environ, start_response):
    write, board = start_response("200 OK", PLAIN), Board.of(environ)

    def late():
        board.wait("over")
        board.note("raised", error_of(write, b"late"))

    threading.Thread(target=late).start()
    return [b"hello"]


# Threads


@case
def writes_from_many_threads(environ, start_response):
    """The last byte is written by any of them, while others wait to write."""
    size, count = 1000, 200
    write = start_response("200 OK", [("Content-Length", str(size * count))])

    def writes():
        while error_of(write, b"x" * size) is None:
            pass

    threads = [threading.Thread(target=writes) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return []


@case
def reads_from_many_threads(environ, start_response):
    chunks, raw, failed = [], environ["wsgi.input"].raw, []

    def reads():
        try:
            while chunk := raw.read(1 << 16):
                chunks.append(len(chunk))
        except OSError as error:
            failed.append(repr(error))

    threads = [threading.Thread(target=reads) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    start_response("200 OK", PLAIN)
    return [repr(failed).encode()]


# The collector


class Cycle:
    """Garbage that calls back when it is collected."""

    def __init__(self, function):
        self.function = function
        self.me = self

    def __del__(self):
        error_of(self.function)


@case
def collected_all_the_time(environ, start_response):
    threshold = gc.get_threshold()
    gc.set_threshold(1)
    try:

        def answers():
            start_response("200 OK", [("Content-Length", "6")])(b"inside")

        headers = [(f"X-{number}", "v" * 50) for number in range(50)]
        for _ in range(20):
            Cycle(answers)
            error_of(start_response, "200 OK", [*headers, ("X-Bad", Calls(lambda: Cycle(answers)))])
        error_of(start_response, "200 OK", PLAIN)
        yield b"hello"
        yield b"hello"
    finally:
        gc.set_threshold(*threshold)


# Broken uploads


@case
def reads_and_lets_it_out(environ, start_response):
    environ["wsgi.input"].read()
    start_response("200 OK", PLAIN)
    return [b"whole"]


@case
def reads_and_answers(environ, start_response):
    error = error_of(environ["wsgi.input"].read)
    start_response("422 Broken", PLAIN)
    return [str(error).encode()]


@case
def reads_and_fails_otherwise(environ, start_response):
    error_of(environ["wsgi.input"].read)
    raise LookupError("planted")


# After the response


@case
def closes_slowly(environ, start_response):
    board = Board.of(environ)

    class Result:
        def __iter__(self):
            return iter([b"hello"])

        def close(self):
            board.wait("received")
            board.note("closed")

    length = [] if environ["QUERY_STRING"] == "streamed" else [("Content-Length", "5")]
    start_response("200 OK", PLAIN + length)
    return Result()
