"""ASGI apps that produce or ignore more than the other side takes; they note how far they are."""

import asyncio
import json

from board import Board
from cases import Cases

case = Cases()


async def app(scope, receive, send):
    if scope["type"] == "http":
        await send({"type": "http.response.start", "status": 200, "headers": []})
        body = str(len(asyncio.all_tasks()) - 1) if scope["path"] == "/tasks" else "hello"
        await send({"type": "http.response.body", "body": body.encode()})
        return
    assert (await receive()) == {"type": "websocket.connect"}
    await send({"type": "websocket.accept"})
    await case[scope["path"]](scope, receive, send)


@case
async def sends_from_10000_tasks(scope, receive, send):
    """Each waits for its turn, or learns that the client has left."""
    board = Board.of(scope)

    async def one(number):
        try:
            await send({"type": "websocket.send", "bytes": number.to_bytes(4, "big") * 16384})
            board.note("sent")
        except OSError:
            board.note("refused")

    await asyncio.gather(*(one(number) for number in range(10_000)))
    board.note("over")


@case
async def sends_one_large_message(scope, receive, send):
    board = Board.of(scope)
    size = int(scope["query_string"])
    await send({"type": "websocket.send", "bytes": bytes(size)})
    await send({"type": "websocket.send", "text": "after it"})
    board.note("sent")


@case
async def reads_when_told(scope, receive, send):
    """Notes how many messages and bytes there were, and whether they came in order."""
    board = Board.of(scope)
    await board.until("read")
    count, size, ordered = 0, 0, True
    while (message := await receive())["type"] == "websocket.receive":
        ordered = ordered and message["bytes"][:4] == count.to_bytes(4, "big")
        count += 1
        size += len(message["bytes"])
    found = {"count": count, "size": size, "ordered": ordered, "code": message["code"]}
    board.note("read all", json.dumps(found))


@case
async def echoes(scope, receive, send):
    while (message := await receive())["type"] == "websocket.receive":
        await send({"type": "websocket.send", "bytes": message["bytes"]})
        del message  # Its memory is ours while we wait for the next one.


@case
async def counts(scope, receive, send):
    board = Board.of(scope)
    count = 0
    while (message := await receive())["type"] == "websocket.receive":
        count += 1
    board.note("counted", f"{count} {message['code']}")


@case
async def waits(scope, receive, send):
    """Sends nothing and receives one message: the end."""
    board = Board.of(scope)
    board.note("open")
    message = await receive()
    board.note("last", json.dumps(message))
