"""ASGI apps that refuse websockets with responses of their own, or try to; the path names the case.

Those that have a board note what came of what they tried.
"""

from board import Board
from cases import Cases
from sending import answer

case = Cases()


async def app(scope, receive, send):
    if scope["type"] == "http":
        await answer(send, b"hello")
        return
    assert (await receive()) == {"type": "websocket.connect"}
    await case[scope["path"]](scope, receive, send)


async def start(send, status=403, headers=()):
    await send(
        {"type": "websocket.http.response.start", "status": status, "headers": list(headers)}
    )


async def body(send, data, more=False):
    await send({"type": "websocket.http.response.body", "body": data, "more_body": more})


async def attempt(board, send, message):
    """Notes the exception that a message raises."""
    try:
        await send(message)
        board.note("attempts", "none")
    except Exception as error:
        board.note("attempts", type(error).__name__)


@case
async def with_cookies(scope, receive, send):
    await start(send, 401, [(b"set-cookie", b"a=1"), (b"set-cookie", b"b=2"), (b"x-why", b"no")])
    await body(send, b"who are you?")


@case
async def with_status(scope, receive, send):
    await start(send, int(scope["query_string"]))
    await body(send, b"" if scope["query_string"] in (b"204", b"304") else b"text")


@case
async def with_defaults(scope, receive, send):
    await send({"type": "websocket.http.response.start", "status": 402})
    await send({"type": "websocket.http.response.body"})


@case
async def in_pieces(scope, receive, send):
    board = Board.of(scope)
    await start(send)
    for number in range(3):
        await body(send, b"piece %d" % number, more=True)
        await board.until(f"go{number}")
    await body(send, b"")


@case
async def at_length(scope, receive, send):
    board = Board.of(scope)
    await start(send)
    for _ in range(2000):
        await body(send, bytes(65536), more=True)
        board.note("sent")
    await body(send, b"")


@case
async def raises_before_the_body(scope, receive, send):
    await start(send, 401)
    raise ValueError("planted: before the body")


@case
async def raises_in_the_body(scope, receive, send):
    await start(send, 401)
    await body(send, b"x" * 1000, more=True)
    raise ValueError("planted: in the body")


@case
async def returns_after_the_start(scope, receive, send):
    await start(send, 401)


@case
async def returns_in_the_body(scope, receive, send):
    await start(send, 401)
    await body(send, b"x" * 1000, more=True)


@case
async def injects(scope, receive, send):
    await start(send, 401, [(b"x-bad", b"a\r\nx-injected: 1")])


@case
async def body_first(scope, receive, send):
    await body(send, b"too early")


@case
async def changes_its_mind(scope, receive, send):
    board = Board.of(scope)
    await start(send, 401)
    await attempt(board, send, {"type": "websocket.accept"})
    await attempt(board, send, {"type": "websocket.close"})
    await attempt(board, send, {"type": "websocket.send", "text": "x"})
    await attempt(board, send, {"type": "websocket.http.response.start", "status": 402})
    await attempt(board, send, {"type": "http.response.body", "body": b"of another kind"})
    await body(send, b"refused")


@case
async def talks_on(scope, receive, send):
    board = Board.of(scope)
    await start(send, 401)
    await body(send, b"refused")
    board.note("received", (await receive())["type"])
    board.note("received", (await receive())["type"])
    await attempt(board, send, {"type": "websocket.http.response.body", "body": b"more"})
    await attempt(board, send, {"type": "websocket.accept"})


@case
async def closes_and_talks_on(scope, receive, send):
    board = Board.of(scope)
    await send({"type": "websocket.close", "code": 4000, "reason": "not you"})
    board.note("received", (await receive())["type"])
    await attempt(board, send, {"type": "websocket.close"})
    await attempt(board, send, {"type": "websocket.accept"})


@case
async def closes_with_odd_details(scope, receive, send):
    """As FastAPI does when parameters are wrong."""
    await send({"type": "websocket.close", "code": 42, "reason": [{"loc": ["query"]}]})


@case
async def open_then_denies(scope, receive, send):
    board = Board.of(scope)
    await send({"type": "websocket.accept"})
    await attempt(board, send, {"type": "websocket.http.response.start", "status": 402})
    await send({"type": "websocket.send", "text": "still open"})
