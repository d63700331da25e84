"""A WSGI app that notes that it was called and how reading went, and shows the method."""

from board import Board
from cases import Cases

case = Cases()

TYPE = ("Content-Type", "text/plain")


def app(environ, start_response):
    return case.get(environ["PATH_INFO"], shows)(environ, start_response)


@case
def hello(environ, start_response):
    start_response("200 OK", [TYPE])
    return [b"hello"]


def shows(environ, start_response):
    """The method and the body, noted if there is a board. The body's end must be its end."""
    board = Board.of(environ) if "HTTP_X_BOARD" in environ else None
    if board:
        board.note("called")
    try:
        body = environ["wsgi.input"].read()
    except OSError:
        if board:
            board.note("failed")
        raise
    if board:
        board.note("read", body.decode("latin-1"))
    start_response("200 OK", [TYPE, ("X-Method", environ["REQUEST_METHOD"])])
    return [body]


@case
def header_sizes(environ, start_response):
    sizes = [len(value) for key, value in environ.items() if key.startswith("HTTP_X_")]
    start_response("200 OK", [TYPE])
    return [f"{len(sizes)} {sum(sizes)}".encode()]


@case
def own_error(environ, start_response):
    start_response("503 Busy", [TYPE, ("Retry-After", "7")])
    return [b"the app's own page"]


@case
def lost(environ, start_response):
    start_response("404 Not Found", [TYPE])
    return [b"the app's own 404"]


@case
def raises(environ, start_response):
    raise ValueError("planted: raises")


@case
def error_page(environ, start_response):
    start_response("500 Sorry", [TYPE])
    return [b"an error page made by an app"]


@case
def long_text(environ, start_response):
    start_response("200 OK", [TYPE, ("Content-Length", "40000")])
    return [b"text" * 10_000]


@case
def nothing(environ, start_response):
    start_response("204 No Content", [])
    return []


@case
def templated(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/html")])
    yield b"1 + 2 = "
    yield b"{{ add 1 2 }}"
