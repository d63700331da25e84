"""The smallest useful WSGI application: it greets, and says where it runs."""

from __future__ import annotations

import platform
from collections.abc import Callable, Iterable
from typing import Any


def app(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    name = environ["PATH_INFO"].strip("/") or "world"
    text = (
        f"Hello, {name}!\n"
        f"This is WSGI on Python {platform.python_version()}, inside Caddy.\n"
        "Try /your-name, and /countdown for ASGI.\n"
    )
    body = text.encode("latin-1")
    start_response(
        "200 OK",
        [("Content-Type", "text/plain; charset=latin-1"), ("Content-Length", str(len(body)))],
    )
    return [body]
