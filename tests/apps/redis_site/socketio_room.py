"""python-socketio in several workers: Redis, which `REDIS_URL` names, connects them."""

import os

import socketio

server = socketio.AsyncServer(
    async_mode="asgi",
    cors_allowed_origins=[],
    transports=["websocket"],
    client_manager=socketio.AsyncRedisManager(os.environ["REDIS_URL"]),
)


@server.event
async def where(sid):
    return os.getpid()


@server.event
async def say(sid, text):
    await server.emit("said", text)


app = socketio.ASGIApp(server)
