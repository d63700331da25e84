"""A python-socketio server that counts who comes and goes."""

import socketio

# A client that polls leaves when its last poll ends, which takes as long as both of these.
server = socketio.AsyncServer(
    async_mode="asgi", cors_allowed_origins=[], ping_interval=1, ping_timeout=5
)
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


@server.event
async def back(sid, data):
    return data


@server.event
async def join(sid, room):
    await server.enter_room(sid, room)


@server.event
async def say(sid, room, text):
    await server.emit("said", text, room=room)


async def other(scope, receive, send):
    assert scope["type"] == "http"
    body = f"{counts['connected']} {counts['disconnected']}".encode()
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": body})


app = socketio.ASGIApp(server, other)
