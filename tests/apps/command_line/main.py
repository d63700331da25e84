"""Applications for the command line: one of each interface, and one that waits for a file."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Awaitable, Callable, Iterable
from typing import Any


def wsgi(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    """Says what the options have made of it."""
    body = json.dumps(
        {
            "path": environ["PATH_INFO"],
            "prefix": sys.prefix,
            "color": os.environ.get("COLOR"),
            "shape": os.environ.get("SHAPE"),
        }
    ).encode()
    start_response("200 OK", [("Content-Type", "application/json")])
    return [body]


async def asgi(
    scope: dict[str, Any], receive: Callable[[], Any], send: Callable[[Any], Awaitable[None]]
) -> None:
    if scope["type"] == "lifespan":
        raise NotImplementedError
    await send({"type": "http.response.start", "status": 200})
    await send({"type": "http.response.body", "body": b"from ASGI"})


def patient(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    """Answers once the file GATE exists, and tells that it waits by GATE.waiting."""
    gate = os.environ["GATE"]
    open(gate + ".waiting", "w").close()
    while not os.path.exists(gate):
        time.sleep(0.01)
    start_response("200 OK", [])
    return [b"done"]
