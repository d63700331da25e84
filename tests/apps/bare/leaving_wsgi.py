"""WSGI apps whose clients leave at every stage. `closed` notes that the app came to its end."""

from board import Board
from cases import Cases

case = Cases()

PLAIN = [("Content-Type", "text/plain")]


def app(environ, start_response):
    return case[environ["PATH_INFO"]](environ, start_response)


@case
def hello(environ, start_response):
    start_response("200 OK", PLAIN)
    return [b"hello"]


@case
def reads(environ, start_response):
    board = Board.of(environ)
    board.note("running")
    try:
        size = len(environ["wsgi.input"].read())
    except OSError:
        board.note("closed")
    else:
        board.note("taken for whole", size)
    start_response("200 OK", PLAIN)
    return [b"nobody is there"]


@case
def runs(environ, start_response):
    board = Board.of(environ)
    board.note("running")
    board.wait("go")
    board.note("closed")
    start_response("200 OK", PLAIN)
    return [b"nobody is there"]


@case
def streams(environ, start_response):
    board = Board.of(environ)
    board.note("running")
    start_response("200 OK", PLAIN)

    def blocks():
        try:
            while True:
                yield bytes(65536)
        finally:
            board.note("closed")

    return blocks()
