"""The lifespan protocol, on a loop without the core."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import pytest
from stand_in import Core

from caddysnake_py.lifespan import Lifespan, Mode
from caddysnake_py.loader import LoadError

App = Callable[[Any, Any, Any], Coroutine[Any, Any, None]]


async def well_behaved(scope: Any, receive: Any, send: Any) -> None:
    while True:
        message = await receive()
        scope["state"][message["type"]] = True
        await send({"type": message["type"] + ".complete"})
        if message["type"] == "lifespan.shutdown":
            return


async def without_lifespan(scope: Any, receive: Any, send: Any) -> None:
    raise RuntimeError("http only")


async def returns_at_once(scope: Any, receive: Any, send: Any) -> None:
    return


async def failing(scope: Any, receive: Any, send: Any) -> None:
    await receive()
    await send({"type": "lifespan.startup.failed", "message": "no database"})


async def failing_at_the_end(scope: Any, receive: Any, send: Any) -> None:
    await receive()
    await send({"type": "lifespan.startup.complete"})
    await receive()
    raise OSError("disk full")


def run(app: App, mode: Mode, *, shutdown: bool = False) -> Lifespan:
    async def steps() -> Lifespan:
        lifespan = Lifespan(app, mode)
        await lifespan.startup()
        if shutdown:
            await lifespan.shutdown()
        return lifespan

    return asyncio.run(steps())


def test_startup_and_shutdown_share_the_state() -> None:
    state = run(well_behaved, "auto", shutdown=True).state
    assert state == {"lifespan.startup": True, "lifespan.shutdown": True}


@pytest.mark.parametrize("app", [without_lifespan, returns_at_once])
def test_auto_goes_on_without_lifespan(app: App) -> None:
    assert run(app, "auto", shutdown=True).state is None


@pytest.mark.parametrize("app", [without_lifespan, returns_at_once])
def test_on_requires_lifespan(app: App) -> None:
    with pytest.raises(LoadError, match="does not support it"):
        run(app, "on")


def test_off_does_not_call_the_app() -> None:
    assert run(without_lifespan, "off", shutdown=True).state is None


@pytest.mark.parametrize("mode", ["auto", "on"])
def test_a_failed_startup_says_why(mode: Mode) -> None:
    with pytest.raises(LoadError, match="no database"):
        run(failing, mode)


def test_an_exception_in_shutdown_is_logged(core: Core) -> None:
    run(failing_at_the_end, "auto", shutdown=True)
    assert [r.message.splitlines()[-1] for r in core.records] == ["OSError: disk full"]
