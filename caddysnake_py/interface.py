"""Detects whether an app is WSGI or ASGI, and adapts ASGI 2 apps to ASGI 3."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Awaitable, Callable
from typing import Any, Literal

Interface = Literal["wsgi", "asgi"]

_POSITIONAL = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)


def _callee(app: Any) -> Any:
    """Returns the function that runs when ``app`` is called."""
    while isinstance(app, functools.partial):
        app = app.func
    if inspect.isclass(app) or inspect.isroutine(app):
        return app
    return type(app).__call__


def _required_arguments(app: Callable[..., Any]) -> int | None:
    """Returns the number of required positional arguments; None if the signature is unknown or has
    ``*args``."""
    try:
        parameters = inspect.signature(app).parameters.values()
    except (TypeError, ValueError):
        return None
    if any(p.kind is inspect.Parameter.VAR_POSITIONAL for p in parameters):
        return None
    return sum(p.kind in _POSITIONAL and p.default is p.empty for p in parameters)


def detect(app: Callable[..., Any]) -> Interface:
    """Returns the interface of ``app``.

    A coroutine function is ASGI. Otherwise the number of required arguments decides: three (scope,
    receive, send) or one (scope, as in ASGI 2) mean ASGI. Two (environ, start_response), any other
    number, and an unknown number mean WSGI.
    """
    if inspect.iscoroutinefunction(_callee(app)):
        return "asgi"
    return "asgi" if _required_arguments(app) in (1, 3) else "wsgi"


def as_asgi3(app: Callable[..., Any]) -> Callable[..., Awaitable[None]]:
    """Returns ``app`` as a single callable of ASGI 3; wraps an ASGI 2 app
    (``app(scope)(receive, send)``)."""
    if inspect.iscoroutinefunction(_callee(app)) or _required_arguments(app) != 1:
        return app

    async def asgi3(scope: Any, receive: Any, send: Any) -> None:
        await app(scope)(receive, send)

    return asgi3
