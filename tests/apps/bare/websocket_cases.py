"""ASGI apps that talk to websockets, in right and in wrong ways; the path names the case."""

import asyncio
import json

from board import Board
from cases import Cases
from sending import answer

case = Cases()


async def app(scope, receive, send):
    if scope["type"] == "http":
        await answer(send, b'"hello"' if scope["path"] == "/hello" else b"http")
        return
    await case[scope["path"]](scope, receive, send)


def argument(scope):
    return scope["query_string"].decode()


async def accepted(receive, send, **more):
    assert (await receive()) == {"type": "websocket.connect"}
    await send({"type": "websocket.accept", **more})


@case
async def echo(scope, receive, send):
    await accepted(receive, send)
    while (message := await receive())["type"] == "websocket.receive":
        kind = "text" if "text" in message else "bytes"
        await send({"type": "websocket.send", kind: message[kind]})


@case
async def messages(scope, receive, send):
    """Sends back each message as JSON, and notes the last."""
    await accepted(receive, send)
    while (message := await receive())["type"] == "websocket.receive":
        text = json.dumps(message, default=lambda value: value.decode("latin-1"))
        await send({"type": "websocket.send", "text": text, "bytes": None})
    Board.of(scope).note("last", json.dumps(message))
    Board.of(scope).note("again", json.dumps(await receive()))


@case
async def describes_its_scope(scope, receive, send):
    await accepted(receive, send)
    described = {k: v for k, v in scope.items() if k not in ("headers", "raw_path", "query_string")}
    described["path_types"] = [type(scope["raw_path"]).__name__, type(scope["path"]).__name__]
    await send({"type": "websocket.send", "text": json.dumps(described, default=repr)})


@case
async def waits(scope, receive, send):
    """Accepts when the test says so."""
    board = Board.of(scope)
    board.note("connecting")
    await board.until("go")
    await accepted(receive, send)


@case
async def chooses(scope, receive, send):
    headers = [(b"x-a", b"1"), (b"set-cookie", b"a=1"), (b"set-cookie", b"b=2")]
    await accepted(receive, send, subprotocol=argument(scope) or None, headers=headers)
    await send({"type": "websocket.send", "text": json.dumps(scope["subprotocols"])})


@case
async def chooses_by_header(scope, receive, send):
    first, _, second = argument(scope).partition(",")
    headers = [(b"sec-websocket-protocol", first.encode())]
    await accepted(receive, send, subprotocol=second or None, headers=headers)


# Refusals


@case
async def refuses(scope, receive, send):
    await send({"type": "websocket.close", "code": 4000})


@case
async def denies(scope, receive, send):
    start = {"type": "websocket.http.response.start", "status": 401}
    await send({**start, "headers": [(b"x-why", b"no")]})
    await send({"type": "websocket.http.response.body", "body": b"go ", "more_body": True})
    await send({"type": "websocket.http.response.body", "body": b"away"})


@case
async def raises_early(scope, receive, send):
    raise ValueError("planted")


@case
async def returns_early(scope, receive, send):
    return


# Ends


@case
async def raises(scope, receive, send):
    await accepted(receive, send)
    raise ValueError("planted")


@case
async def leaves(scope, receive, send):
    await accepted(receive, send)
    raise SystemExit(3)


@case
async def returns(scope, receive, send):
    await accepted(receive, send)


@case
async def closes(scope, receive, send):
    await accepted(receive, send)
    code, _, reason = argument(scope).partition(",")
    await send({"type": "websocket.close", "code": int(code), "reason": reason})
    Board.of(scope).note("last", json.dumps(await receive()))


@case
async def sends_to_nobody(scope, receive, send):
    board = Board.of(scope)
    await accepted(receive, send)
    while (await receive())["type"] != "websocket.disconnect":
        pass
    try:
        await send({"type": "websocket.send", "text": "late"})
    except OSError as error:
        board.note("raised", type(error).__name__)


# Mistakes that raise in the app, which says so


@case
async def mistakes(scope, receive, send):
    await accepted(receive, send)
    wrong = [
        {"type": "websocket.send"},
        {"type": "websocket.send", "text": None, "bytes": None},
        {"type": "websocket.send", "text": "a", "bytes": b"b"},
        {"type": "websocket.send", "text": b"bytes"},
        {"type": "websocket.send", "bytes": "text"},
        {"type": "websocket.accept"},
        {"type": "http.response.start", "status": 200},
        {"type": "nonsense"},
        {},
        "text",
        {"type": "websocket.close", "code": 1005},
        {"type": "websocket.close", "code": 999},
        {"type": "websocket.close", "reason": "x" * 124},
    ]
    names = []
    for message in wrong:
        try:
            await send(message)
            names.append(None)
        except Exception as error:
            names.append(type(error).__name__)
    await send({"type": "websocket.send", "text": json.dumps(names)})


# Pressure


@case
async def floods(scope, receive, send):
    board = Board.of(scope)
    await accepted(receive, send)
    try:
        for count in range(2000):
            await send({"type": "websocket.send", "bytes": bytes(65536)})
            board.note("sent", str(count))
    finally:
        board.note("over")


@case
async def reads_when_told(scope, receive, send):
    board = Board.of(scope)
    await accepted(receive, send)
    await board.until("read")
    size = 0
    while (message := await receive())["type"] == "websocket.receive":
        size += len(message["bytes"])
    board.note("read all", str(size))
    board.note("code", str(message["code"]))


@case
async def listens(scope, receive, send):
    board = Board.of(scope)
    await accepted(receive, send)
    board.note("open")
    while (message := await receive())["type"] != "websocket.disconnect":
        await asyncio.sleep(0)
    board.note("last", json.dumps(message))


async def root(scope, receive, send):
    """The cases below a stripped prefix."""
    inner = scope["path"].removeprefix(scope["root_path"])
    await case[inner](scope, receive, send)
