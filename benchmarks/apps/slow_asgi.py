"""An ASGI app that waits 20 ms, as for a database: 64 connections can give 3,200 requests/s."""

import asyncio

from hello_asgi import app as hello


async def app(scope, receive, send):
    if scope["type"] == "http":
        await asyncio.sleep(0.02)
    await hello(scope, receive, send)
