"""WSGI apps that answer with files through `wsgi.file_wrapper` (PEP 3333)."""

import gzip
import io
import json
import os
import threading
from urllib.parse import parse_qs

from board import Board
from cases import Cases

case = Cases()

PLAIN = [("Content-Type", "application/octet-stream")]

kept = []


def app(environ, start_response):
    return case[environ["PATH_INFO"]](environ, start_response)


def asked(environ, name, default=None):
    return parse_qs(environ["QUERY_STRING"]).get(name, [default])[0]


def noted(environ, wrapper):
    """The wrapper, whose close() now leaves a note."""
    close = wrapper.close

    def noted_close():
        Board.of(environ).note("closed")
        close()

    wrapper.close = noted_close
    return wrapper


def opened(environ, buffering=-1):
    """The file that the query names, from the offset that it names."""
    file = open(asked(environ, "path"), "rb", buffering)  # noqa: SIM115 (close() is the server's)
    file.read(int(asked(environ, "read", "0")))
    return file


@case
def hello(environ, start_response):
    start_response("200 OK", PLAIN)
    return [b"hello"]


@case
def kind(environ, start_response):
    wrapper = environ["wsgi.file_wrapper"]
    made = wrapper(io.BytesIO(b"x"))
    body = json.dumps([isinstance(made, wrapper), iter(made) is made, list(made) == [b"x"]])
    start_response("200 OK", PLAIN)
    return [body.encode()]


@case
def file(environ, start_response):
    start_response("200 OK", PLAIN)
    return noted(environ, environ["wsgi.file_wrapper"](opened(environ)))


@case
def unbuffered(environ, start_response):
    start_response("200 OK", PLAIN)
    return noted(environ, environ["wsgi.file_wrapper"](opened(environ, 0)))


@case
def seen_closed(environ, start_response):
    """The file itself, to ask later."""
    kept[:] = [opened(environ)]
    start_response("200 OK", PLAIN)
    return environ["wsgi.file_wrapper"](kept[0])


@case
def is_closed(environ, start_response):
    start_response("200 OK", PLAIN)
    return [str(kept.pop().closed).encode()]


shared = {}
in_turn = threading.Lock()


@case
def shared_in_turn(environ, start_response):
    """One open file for all requests, which have it in turn, until close() is called."""
    in_turn.acquire()
    path = asked(environ, "path")
    if path not in shared:
        shared[path] = opened(environ, 0)
        if asked(environ, "unlinked"):
            os.unlink(path)
    shared[path].seek(0)
    start_response("200 OK", PLAIN)
    wrapper = environ["wsgi.file_wrapper"](shared[path])
    wrapper.close = in_turn.release
    return wrapper


@case
def position(environ, start_response):
    """Where the shared file stands, which is then forgotten."""
    file = shared.pop(asked(environ, "path"))
    start_response("200 OK", PLAIN)
    return [str(file.tell()).encode()]


@case
def with_length(environ, start_response):
    start_response("200 OK", [*PLAIN, ("Content-Length", asked(environ, "length"))])
    return noted(environ, environ["wsgi.file_wrapper"](opened(environ)))


@case
def in_small_blocks(environ, start_response):
    start_response("200 OK", PLAIN)
    return environ["wsgi.file_wrapper"](opened(environ), 3)


@case
def after_write(environ, start_response):
    start_response("200 OK", PLAIN)(b"before ")
    return environ["wsgi.file_wrapper"](opened(environ))


@case
def not_modified(environ, start_response):
    start_response("304 Not Modified", [("ETag", '"x"')])
    return noted(environ, environ["wsgi.file_wrapper"](opened(environ)))


@case
def through_middleware(environ, start_response):
    start_response("200 OK", PLAIN)
    return (block.upper() for block in environ["wsgi.file_wrapper"](opened(environ)))


@case
def begun_by_middleware(environ, start_response):
    """The first block is taken off and thrown away."""
    wrapper = environ["wsgi.file_wrapper"](opened(environ), 4)
    next(wrapper)
    start_response("200 OK", PLAIN)
    return wrapper


# What only looks like a file


class Reader:
    """No fileno, no iteration, no seek: all that PEP 3333 asks for."""

    def __init__(self, data, board):
        self.data = data
        self.board = board

    def read(self, size):
        data, self.data = self.data[:size], self.data[size:]
        return data

    def close(self):
        self.board.note("closed")


@case
def like_a_file(environ, start_response):
    start_response("200 OK", PLAIN)
    reader = Reader(b"like a file", Board.of(environ))
    return environ["wsgi.file_wrapper"](reader, 4)


@case
def in_memory(environ, start_response):
    source = io.BytesIO(b"not in memory")
    source.seek(4)
    start_response("200 OK", PLAIN)
    return noted(environ, environ["wsgi.file_wrapper"](source))


@case
def compressed(environ, start_response):
    """It has the fileno of a file with other contents."""
    start_response("200 OK", PLAIN)
    return environ["wsgi.file_wrapper"](gzip.open(asked(environ, "path")))


@case
def pipe(environ, start_response):
    reading, writing = os.pipe()
    os.write(writing, b"out of a pipe")
    os.close(writing)
    start_response("200 OK", PLAIN)
    return environ["wsgi.file_wrapper"](os.fdopen(reading, "rb"))


@case
def text(environ, start_response):
    start_response("200 OK", PLAIN)
    return environ["wsgi.file_wrapper"](open(asked(environ, "path")))


@case
def for_writing_only(environ, start_response):
    descriptor = os.open(asked(environ, "path"), os.O_WRONLY)
    start_response("200 OK", PLAIN)
    return environ["wsgi.file_wrapper"](os.fdopen(descriptor, "wb", 0))


@case
def never_starts(environ, start_response):
    return noted(environ, environ["wsgi.file_wrapper"](opened(environ)))
