"""An ASGI app with a lifespan, events, files and websockets. `NOTES` names its board."""

import os

from board import Board

board = Board(os.environ["NOTES"])


async def app(scope, receive, send):
    await kinds[scope["type"]](scope, receive, send)


async def lifespan(scope, receive, send):
    await receive()
    board.note("started", os.getpid())
    await send({"type": "lifespan.startup.complete"})
    await receive()
    board.note("stopped", os.getpid())
    await send({"type": "lifespan.shutdown.complete"})


async def http(scope, receive, send):
    await send({"type": "http.response.start", "status": 200, "headers": []})
    if scope["path"] == "/file":
        path = scope["query_string"].decode()
        await send({"type": "http.response.pathsend", "path": path})
        return
    if scope["path"] == "/events":
        await send({"type": "http.response.body", "body": b"data: first\n\n", "more_body": True})
        await board.until("go")
        await send({"type": "http.response.body", "body": b"data: last\n\n"})
        return
    await send({"type": "http.response.body", "body": b"%d" % os.getpid()})
    if scope["path"] == "/task":  # runs on after its response
        board.note("begun", os.getpid())
        await board.until("go")
        board.note("task ended", os.getpid())


async def websocket(scope, receive, send):
    await receive()
    await send({"type": "websocket.accept"})
    while (message := await receive())["type"] == "websocket.receive":
        await send({"type": "websocket.send", "text": f"{message['text']} from {os.getpid()}"})


kinds = {"lifespan": lifespan, "http": http, "websocket": websocket}
