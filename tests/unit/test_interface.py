"""Which interface an app speaks."""

from __future__ import annotations

import asyncio
import functools
from typing import Any

import pytest

from caddysnake_py.interface import as_asgi3, detect


def wsgi_function(environ: Any, start_response: Any) -> Any: ...
def wsgi_with_default(environ: Any, start_response: Any, extra: int = 1) -> Any: ...
async def asgi_function(scope: Any, receive: Any, send: Any) -> None: ...
def asgi_that_returns_a_coroutine(scope: Any, receive: Any, send: Any) -> Any: ...
def asgi2_function(scope: Any) -> Any: ...
def anything(*args: Any) -> Any: ...


class WSGIObject:
    def __call__(self, environ: Any, start_response: Any) -> Any: ...


class ASGIObject:
    async def __call__(self, scope: Any, receive: Any, send: Any) -> None: ...


class ASGI2Class:
    def __init__(self, scope: Any) -> None: ...
    async def __call__(self, receive: Any, send: Any) -> None: ...


class WSGIClass:
    """PEP 3333's example of a class whose instances are the iterable."""

    def __init__(self, environ: Any, start_response: Any) -> None: ...


@pytest.mark.parametrize(
    "app",
    [
        wsgi_function,
        wsgi_with_default,
        WSGIObject(),
        WSGIClass,
        anything,
        functools.partial(wsgi_function),
        WSGIObject().__call__,
    ],
)
def test_wsgi_apps_are_recognised(app: Any) -> None:
    assert detect(app) == "wsgi"


@pytest.mark.parametrize(
    "app",
    [
        asgi_function,
        asgi_that_returns_a_coroutine,
        ASGIObject(),
        ASGI2Class,
        asgi2_function,
        functools.partial(functools.partial(asgi_function)),
        ASGIObject().__call__,
    ],
)
def test_asgi_apps_are_recognised(app: Any) -> None:
    assert detect(app) == "asgi"


def test_asgi3_apps_stay_as_they_are() -> None:
    assert as_asgi3(asgi_function) is asgi_function


def test_asgi2_apps_become_single_callables() -> None:
    calls: list[Any] = []

    def app(scope: Any) -> Any:
        async def instance(receive: Any, send: Any) -> None:
            calls.append((scope, receive, send))

        return instance

    asyncio.run(as_asgi3(app)("scope", "receive", "send"))  # type: ignore[arg-type]
    assert calls == [("scope", "receive", "send")]
