"""Responses of any size in one block or message: GET /<bytes>. The zeros take no memory here."""

from __future__ import annotations

from typing import Any


def wsgi_app(environ: dict[str, Any], start_response: Any) -> list[bytes]:
    start_response("200 OK", [])
    return [bytes(int(environ["PATH_INFO"][1:]))]


async def asgi_app(scope: dict[str, Any], receive: Any, send: Any) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": bytes(int(scope["path"][1:]))})
