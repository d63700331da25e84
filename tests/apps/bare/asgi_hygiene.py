"""An ASGI app that notes that it was called and how reading went, and shows the method."""

from board import Board
from cases import Cases
from sending import answer, body, read, start

case = Cases()

PLAIN = (b"content-type", b"text/plain")


async def app(scope, receive, send):
    assert scope["type"] == "http"
    await case.get(scope["path"], shows)(scope, receive, send)


@case
async def hello(scope, receive, send):
    await answer(send, b"hello")


async def shows(scope, receive, send):
    """The method and the body, noted if there is a board. The body's end must be its end."""
    board = Board.of(scope) if b"x-board" in dict(scope["headers"]) else None
    if board:
        board.note("called")
    data = await read(receive)
    if data is None:
        if board:
            board.note("failed")
        return
    if board:
        board.note("read", data.decode("latin-1"))
    await answer(send, data, headers=[PLAIN, (b"x-method", scope["method"].encode())])


@case
async def header_sizes(scope, receive, send):
    sizes = [len(value) for name, value in scope["headers"] if name.startswith(b"x-")]
    await answer(send, f"{len(sizes)} {sum(sizes)}".encode())


@case
async def own_error(scope, receive, send):
    await answer(send, b"the app's own page", 503, [PLAIN, (b"retry-after", b"7")])


@case
async def lost(scope, receive, send):
    await answer(send, b"the app's own 404", 404, [PLAIN])


@case
async def raises(scope, receive, send):
    raise ValueError("planted: raises")


async def always_raises(scope, receive, send):
    raise ValueError("planted: raises")


@case
async def error_page(scope, receive, send):
    await answer(send, b"an error page made by an app", 500, [PLAIN])


@case
async def long_text(scope, receive, send):
    await answer(send, b"text" * 10_000, headers=[PLAIN, (b"content-length", b"40000")])


@case
async def nothing(scope, receive, send):
    await answer(send, status=204)


@case
async def templated(scope, receive, send):
    await start(send, headers=[(b"content-type", b"text/html")])
    await body(send, b"1 + 2 = ", more=True)
    await body(send, b"{{ add 1 2 }}")
