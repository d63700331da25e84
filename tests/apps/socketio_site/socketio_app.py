"""A python-socketio server: rooms, acknowledgements, and a count of who comes and goes."""

import collections

import socketio

# A client that polls leaves only when its last poll ends, which is when it is pinged.
server = socketio.AsyncServer(async_mode="asgi", ping_interval=1, ping_timeout=30)
counts = collections.Counter()


@server.event
async def connect(sid, environ, auth):
    if auth == "stranger":
        raise socketio.exceptions.ConnectionRefusedError("not you")
    counts["connect"] += 1


@server.event
async def disconnect(sid, reason):
    counts["disconnect"] += 1
    counts[f"disconnect: {reason}"] += 1


@server.event
async def echo(sid, data):
    return data


@server.event
async def transport(sid):
    return server.transport(sid)


@server.event
async def join(sid, room):
    await server.enter_room(sid, room)


@server.event
async def say(sid, room, text):
    await server.emit("said", text, room=room)


async def report(scope, receive, send):
    """What is not Socket.IO: the counts, as lines."""
    body = "".join(f"{name}={count}\n" for name, count in sorted(counts.items()))
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": body.encode()})


app = socketio.ASGIApp(server, other_asgi_app=report)
