"""ASGI apps whose websockets live through reloads and stops; they note what they see.

LIFE_NOTES names the file for the notes, since what ends has no request to name a board.
"""

import asyncio
import json
import os
from pathlib import Path

from asgi_scope import shown
from sending import answer


def note(line):
    with open(os.environ["LIFE_NOTES"], "a") as file:
        file.write(f"{line}\n")


async def text(send, text):
    await send({"type": "websocket.send", "text": text})


async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        return await lifespan(scope, receive, send)
    if scope["type"] == "http":
        await answer(send, b"hello")
        return
    await {
        "/scope": shows_its_scope,
        "/listens": listens,
        "/deaf": deaf,
        "/undecided": undecided,
        "/late": late,
        "/chatters": chatters,
        "/cleans_up": cleans_up,
    }[scope["path"]](scope, receive, send)


async def lifespan(scope, receive, send):
    await receive()
    scope["state"]["shared"] = {"count": 0}
    await send({"type": "lifespan.startup.complete"})
    await receive()
    note("shutdown")
    await send({"type": "lifespan.shutdown.complete"})


async def accept(receive, send):
    await receive()
    await send({"type": "websocket.accept"})
    await text(send, "open")


async def shows_its_scope(scope, receive, send):
    """Shows the scope, and a count that all connections share."""
    scope["state"]["shared"]["count"] += 1
    scope["state"]["own"] = scope["state"].get("own", 0) + 1
    await receive()
    await send({"type": "websocket.accept"})
    await text(send, json.dumps(shown(scope)))


async def listens(scope, receive, send):
    await accept(receive, send)
    while (message := await receive())["type"] != "websocket.disconnect":
        await text(send, message["text"])
    note(f"disconnect {message['code']} {message['reason']!r}")


async def deaf(scope, receive, send):
    """Never receives; it learns of the end by sending."""
    await accept(receive, send)
    try:
        while True:
            await text(send, "tick")
            await asyncio.sleep(0.01)
    except OSError as error:
        note(f"raised {type(error).__name__}")


async def undecided(scope, receive, send):
    """Neither accepts nor refuses until the client is gone."""
    await receive()
    note("undecided")
    try:
        await receive()
    finally:
        note("over")


async def late(scope, receive, send):
    """Accepts when the test has written to the notes."""
    note("waiting")
    while "go" not in Path(os.environ["LIFE_NOTES"]).read_text():
        await asyncio.sleep(0.005)
    await accept(receive, send)
    message = await receive()
    note(f"{message['type']} {message['code']}")


async def chatters(scope, receive, send):
    """Sends as fast as it may."""
    await accept(receive, send)
    try:
        while True:
            await send({"type": "websocket.send", "bytes": bytes(10_000)})
    except OSError as error:
        note(f"raised {type(error).__name__}")


async def cleans_up(scope, receive, send):
    """Works for a while after the disconnect, as consumers do that write to a database."""
    await accept(receive, send)
    while (await receive())["type"] != "websocket.disconnect":
        pass
    for _ in range(20):
        await asyncio.sleep(0.01)
    note("cleaned up")
