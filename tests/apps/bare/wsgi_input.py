"""WSGI apps that read their request's body in all the ways a file can be read."""

import hashlib
import json

from board import Board
from cases import Cases

case = Cases()


def app(environ, start_response):
    return case[environ["PATH_INFO"]](environ, start_response)


def answer(start_response, value):
    """Values as JSON; bytes in them as latin-1 text."""
    body = json.dumps(value, default=lambda data: data.decode("latin-1")).encode()
    start_response("200 OK", [("Content-Type", "application/json")])
    return [body]


@case
def hello(environ, start_response):
    return answer(start_response, "hello")


@case
def piecemeal(environ, start_response):
    source = environ["wsgi.input"]
    parts = [source.read(3), source.readline(), source.readline(2), source.readline()]
    return answer(start_response, [*parts, source.readlines(), source.read(), source.read()])


@case
def lines(environ, start_response):
    source = environ["wsgi.input"]
    found = []
    while True:
        line = source.readline()
        if not line:
            return answer(start_response, found)
        found.append(line)


@case
def rest_after_a_part(environ, start_response):
    source = environ["wsgi.input"]
    return answer(start_response, [source.read(4), source.readline(), source.read()])


@case
def read_everything(environ, start_response):
    source = environ["wsgi.input"]
    how = {"none": (None,), "negative": (-1,), "bare": ()}[environ["QUERY_STRING"]]
    return answer(start_response, [source.read(0), source.read(*how), source.read(*how)])


@case
def read_past_the_end(environ, start_response):
    source = environ["wsgi.input"]
    return answer(start_response, source.read(int(environ["CONTENT_LENGTH"]) + 1000))


@case
def iterate(environ, start_response):
    source = environ["wsgi.input"]
    first = next(iter(source))
    return answer(start_response, [first, *source.readlines(1), *source])


@case
def digest(environ, start_response):
    source = environ["wsgi.input"]
    sha, size = hashlib.sha256(), 0
    while piece := source.read(65536):
        sha.update(piece)
        size += len(piece)
    return answer(start_response, [size, sha.hexdigest()])


@case
def ignore(environ, start_response):
    return answer(start_response, "not read")


@case
def read_when_told(environ, start_response):
    board = Board.of(environ)
    board.note("running")
    board.wait("read")
    return answer(start_response, len(environ["wsgi.input"].read()))


@case
def refuse(environ, start_response):
    start_response("403 Forbidden", [("Content-Length", "0")])
    return []


@case
def answers_before_it_reads(environ, start_response):
    start_response("200 OK", [])
    yield b"begun "
    yield hashlib.sha256(environ["wsgi.input"].read()).hexdigest().encode()


@case
def reads_a_part_and_fails(environ, start_response):
    environ["wsgi.input"].read(10)
    raise ValueError("planted: after a part")
