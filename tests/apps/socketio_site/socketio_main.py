"""A python-socketio server that counts who comes and goes."""

import socketio

server = socketio.AsyncServer(async_mode="asgi", cors_allowed_origins=[])
counts = {"connected": 0, "disconnected": 0}


@server.event
async def connect(sid, environ):
    counts["connected"] += 1


@server.event
async def disconnect(sid, reason):
    counts["disconnected"] += 1


@server.event
async def echo(sid, data):
    return {"you said": data}


async def other(scope, receive, send):
    assert scope["type"] == "http"
    body = f"{counts['connected']} {counts['disconnected']}".encode()
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": body})


app = socketio.ASGIApp(server, other)
