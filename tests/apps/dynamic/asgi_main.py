"""A tenant's ASGI app; `/hold` answers when the test lets it, websockets stay until they close."""

import asyncio

from common import answer, is_blocked, note, while_importing

while_importing()


async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        await receive()
        note("startup")
        await send({"type": "lifespan.startup.complete"})
        await receive()
        note("shutdown")
        return await send({"type": "lifespan.shutdown.complete"})
    if scope["type"] == "websocket":
        await receive()
        await send({"type": "websocket.accept"})
        return await receive()
    path = scope["path"]
    if path == "/hold":
        note("held")
        while is_blocked("request"):
            await asyncio.sleep(0.005)
        path = "/name"
    await send({"type": "http.response.start", "status": 200, "headers": []})
    body = answer(path, scope["query_string"].decode())
    await send({"type": "http.response.body", "body": body})
