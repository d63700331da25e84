"""ASGI apps that use the extensions of HTTP; the path names the case."""

import json

from board import Board
from cases import Cases
from sending import answer, body, start

case = Cases()
app = case.asgi


def argument(scope):
    return scope["query_string"].decode()


@case
async def hello(scope, receive, send):
    await answer(send, b'"hello"')


@case
async def extensions(scope, receive, send):
    """What is offered; what one request does to it, the next must not see."""
    text = json.dumps(scope["extensions"], default=repr)
    scope["extensions"]["mine"] = {}
    await answer(send, text.encode())


@case
async def path(scope, receive, send):
    await start(send, headers=[(b"x-a", b"1")])
    await send({"type": "http.response.pathsend", "path": argument(scope)})


@case
async def path_or_error(scope, receive, send):
    await start(send)
    try:
        await send({"type": "http.response.pathsend", "path": argument(scope)})
    except (OSError, ValueError) as error:
        await body(send, type(error).__name__.encode())


@case
async def path_twice(scope, receive, send):
    await start(send)
    await send({"type": "http.response.pathsend", "path": argument(scope)})
    try:
        await send({"type": "http.response.pathsend", "path": argument(scope)})
    except RuntimeError:
        Board.of(scope).note("refused")


@case
async def path_after_body(scope, receive, send):
    await start(send)
    await body(send, b"a", more=True)
    await send({"type": "http.response.pathsend", "path": argument(scope)})


@case
async def hints(scope, receive, send):
    await send({"type": "http.response.early_hint", "links": [b"</a.css>; rel=preload", b"</b>"]})
    await send({"type": "http.response.early_hint", "links": (b"</c>" for _ in range(1))})
    await answer(send, b"done", headers=[(b"link", b"</final>")])


@case
async def hint_after_start(scope, receive, send):
    hint = {"type": "http.response.early_hint", "links": [b"</a>"]}
    await start(send, headers=[(b"link", b"</final>")])
    await send(hint)
    await body(send, b"one ", more=True)
    await send(hint)
    await body(send, b"two")


@case
async def trailers(scope, receive, send):
    await start(send, trailers=True)
    await body(send, b"a", more=True)
    await body(send, b"b")
    first = {"headers": [(b"x-sum", b"1")], "more_trailers": True}
    await send({"type": "http.response.trailers", **first})
    await send({"type": "http.response.trailers", "headers": [(b"x-sum", b"2"), (b"x-b", b"3")]})


@case
async def no_trailers(scope, receive, send):
    await start(send, trailers=True)
    await body(send, b"ab")


@case
async def bad_trailer(scope, receive, send):
    await start(send, trailers=True)
    await body(send, b"a", more=True)
    await body(send, b"b")
    await send({"type": "http.response.trailers", "headers": [(b"x-a", b"1\r\nX-Evil: 1")]})


@case
async def forbidden_trailer(scope, receive, send):
    await start(send, trailers=True)
    await body(send, b"a", more=True)
    await body(send, b"b")
    name = scope["query_string"]
    await send({"type": "http.response.trailers", "headers": [(name, b"1")]})


@case
async def own_date_and_server(scope, receive, send):
    date = b"Mon, 01 Jan 2024 00:00:00 GMT"
    await answer(send, headers=[(b"date", date), (b"server", b"mine")])


@case
async def blocks(scope, receive, send):
    board = Board.of(scope)
    board.note("blocking")
    board.wait("reported")
    await answer(send, b"late")


@case
async def waits(scope, receive, send):
    Board.of(scope).note("waiting")
    await until_it_leaves(receive)
    await answer(send, b"waited")


async def until_it_leaves(receive):
    while (await receive())["type"] != "http.disconnect":
        pass
