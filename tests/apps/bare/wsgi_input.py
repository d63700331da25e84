"""WSGI apps that read their request's body in all the ways a file can be read."""

import csv
import hashlib
import io
import json
import zlib

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
    expected = int(environ.get("CONTENT_LENGTH") or 0)
    return answer(start_response, [source.read(expected + 1000), source.read(1)])


@case
def iterate(environ, start_response):
    source = environ["wsgi.input"]
    first = next(iter(source))
    return answer(start_response, [first, *source.readlines(1), *source])


@case
def sizes_of_lines(environ, start_response):
    source = environ["wsgi.input"]
    lines = [source.readline(0), source.readline(-1), source.readline(None)]
    found = [*lines, source.readlines(1), source.readlines(0), source.readlines(-1)]
    return answer(start_response, found)


@case
def as_a_file(environ, start_response):
    text = io.TextIOWrapper(environ["wsgi.input"], encoding="utf-8", newline="")
    return answer(start_response, list(csv.reader(text)))


@case
def checksum(environ, start_response):
    """Cheaper than a digest, for uploads that are large."""
    source = environ["wsgi.input"]
    value, size = 0, 0
    while piece := source.read(65536):
        value = zlib.crc32(piece, value)
        size += len(piece)
    return answer(start_response, [size, value])


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


@case
def digest_noted(environ, start_response):
    Board.of(environ).note("running")
    return digest(environ, start_response)


def noted(environ, start_response, read):
    """Reads and notes how it went; an error goes its way."""
    board = Board.of(environ)
    board.note("running")
    try:
        size = read(environ["wsgi.input"])
    except OSError as error:
        board.note("failed", type(error).__name__)
        raise
    board.note("read", size)
    return answer(start_response, size)


@case
def reads_and_notes(environ, start_response):
    return noted(environ, start_response, lambda source: len(source.read()))


@case
def reads_lines_and_notes(environ, start_response):
    return noted(environ, start_response, lambda source: sum(map(len, source)))


@case
def answers_for_the_limit(environ, start_response):
    try:
        environ["wsgi.input"].read()
    except OSError:
        start_response("413 Too Much", [("Content-Type", "application/json")])
        return [b'"too much for me"']
    return answer(start_response, "all read")


@case
def iterate_only(environ, start_response):
    return answer(start_response, list(environ["wsgi.input"]))


@case
def answers_after_reading(environ, start_response):
    """Block by block, from what was read block by block."""
    source = environ["wsgi.input"]
    start_response("200 OK", [("Content-Type", "text/plain")])
    while piece := source.read(100):
        yield piece
