"""Which request code runs for: the ids that its log records carry (option `request_id`).

Caddy puts the ids into headers, X-Request-Id and traceparent (W3C Trace Context), so applications
and their libraries find them where they look.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from contextvars import ContextVar
from typing import Any

# What `of` finds them in: an environ or a scope. Each request has a context of its own.
_request: ContextVar[Any] = ContextVar("caddysnake_request")
# Applications whose records carry ids.
apps: set[int] = set()

_ID = re.compile(r"[0-9a-f-]{36}")
_PARENT = re.compile(r"[0-9a-f]{2}-([0-9a-f]{32})-([0-9a-f]{16})-[0-9a-f]{2}")


def wsgi(app: Callable[..., Any]) -> Callable[..., Any]:
    """Returns the app such that code that it calls knows its request."""

    def identified(environ: Any, start_response: Any) -> Any:
        _request.set(environ)
        return app(environ, start_response)

    return identified


def asgi(app: Callable[..., Awaitable[None]]) -> Callable[..., Awaitable[None]]:
    """Returns the app such that code that it awaits knows its request."""

    def identified(scope: Any, receive: Any, send: Any) -> Awaitable[None]:
        _request.set(scope)
        return app(scope, receive, send)

    return identified


def current() -> str:
    """Returns the ids of the request for which this code runs, or an empty string."""
    request = _request.get(None)
    return "" if request is None else of(request)


def of(request: Any) -> str:
    """Returns the ids in an environ or a scope, which the application may have changed.

    Returns:
        ``"<request id> <trace id> <span id>"``; the latter two are missing without tracing. An
        empty string if there is no id.
    """
    if type(request) is not dict:
        return ""
    if "wsgi.version" in request:
        own, parent = request.get("HTTP_X_REQUEST_ID"), request.get("HTTP_TRACEPARENT")
    else:
        own, parent = _header(request, b"x-request-id"), _header(request, b"traceparent")
    if type(own) is not str or not _ID.fullmatch(own):
        return ""
    traced = _PARENT.fullmatch(parent) if type(parent) is str else None
    return f"{own} {traced[1]} {traced[2]}" if traced else own


def _header(scope: dict[Any, Any], name: bytes) -> str | None:
    headers = scope.get("headers")
    for pair in headers if type(headers) is list else ():
        if type(pair) is tuple and len(pair) == 2 and type(pair[0]) is bytes and pair[0] == name:
            return pair[1].decode("latin-1") if type(pair[1]) is bytes else None
    return None
