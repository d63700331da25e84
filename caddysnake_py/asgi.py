"""Serves ASGI apps, each on an event loop of its own."""

from __future__ import annotations

import asyncio
import logging
import sys
import threading
from collections.abc import Awaitable, Callable
from time import monotonic
from typing import Any, Protocol, runtime_checkable

import _caddysnake

from caddysnake_py import logs, request_ids
from caddysnake_py.lifespan import Lifespan
from caddysnake_py.load_request import LoadRequest

_SHUTDOWN_SECONDS = 10.0
_POLL_SECONDS = 0.05
_MAX_NAMED = 10  # limit of tasks that a log record names


@runtime_checkable
class WatchesRequests(Protocol):
    """A loop that sees requests without a descriptor."""

    def watch_requests(self, start: Callable[[], None]) -> None:
        """Makes the loop call ``start`` when there are requests."""


def extensions_of_http() -> tuple[dict[str, Any], ...]:
    """Returns ``scope["extensions"]`` of HTTP requests, indexed by a bit mask of the connection's
    features: early hints (1), trailers (2). The core adds ``tls``."""
    pathsend: dict[str, Any] = {"http.response.pathsend": {}}
    hints: dict[str, Any] = {"http.response.early_hint": {}}
    trailers: dict[str, Any] = {"http.response.trailers": {}}
    return pathsend, pathsend | hints, pathsend | trailers, pathsend | hints | trailers


def websocket_template() -> dict[str, Any]:
    """Returns the part of the scope that is the same for every websocket of an app (ASGI
    specification, "WebSocket Connection Scope")."""
    return scope_template() | {
        "type": "websocket",
        "scheme": "ws",
        "extensions": {"websocket.http.response": {}},
    }


def scope_template() -> dict[str, Any]:
    """Returns the part of the scope that is the same for every request of an app (ASGI
    specification, "HTTP Connection Scope"); the core adds the rest.

    Not spec_version 2.4: Starlette would then detect a disconnect in ``send()`` only, which an idle
    stream does not call (docs/decisions/0053).
    """
    return {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": "1.1",
        "scheme": "http",
        "root_path": "",
    }


def _watch(loop: asyncio.AbstractEventLoop, core: _caddysnake.Generation) -> None:
    """Makes a loop start the app's requests from now on."""
    if isinstance(loop, WatchesRequests):
        loop.watch_requests(core.drain)
    else:
        loop.add_reader(core.watch(), core.drain)


def _unwatch(loop: asyncio.AbstractEventLoop, core: _caddysnake.Generation) -> None:
    """Reverts `_watch`."""
    if not isinstance(loop, WatchesRequests):
        loop.remove_reader(core.watch())


def _names(scopes: list[dict[str, Any]]) -> str:
    """Returns the methods and paths of scopes. An app may have replaced them by other objects:
    those are left out, as ``str()`` would run the app's code."""
    pairs = ((scope.get("method"), scope.get("path")) for scope in scopes[:_MAX_NAMED])
    names = [" ".join(str(part) for part in pair if type(part) is str) for pair in pairs]
    return ", ".join(names) + (
        f" and {len(scopes) - _MAX_NAMED} more" if len(scopes) > _MAX_NAMED else ""
    )


class ASGIServer:
    """An ASGI app that runs on its own loop. All coroutines here run on that loop's thread."""

    def __init__(
        self,
        core: _caddysnake.Generation,
        app: Callable[..., Awaitable[None]],
        request: LoadRequest,
    ) -> None:
        self._core = core
        self._app_id = request.id
        self._app = app
        self._lifespan = Lifespan(app, request.lifespan)
        if request.request_id:
            request_ids.apps.add(request.id)
            self._app = request_ids.asgi(app)

    async def start(self) -> None:
        """Runs the app's lifespan startup, then accepts requests.

        Raises:
            LoadError: the startup failed.
        """
        loop = asyncio.get_running_loop()
        await self._lifespan.startup()
        options: dict[str, Any] = {"loop": loop}
        if sys.version_info >= (3, 12):
            options["eager_start"] = True
        self._core.serve_asgi(
            self._app,
            scope_template(),
            websocket_template(),
            extensions_of_http(),
            self._lifespan.state,
            loop,
            asyncio.Task,
            options,
        )
        _watch(loop, self._core)

    async def stop(self, drain: float, tasks: float) -> bool:
        """Waits for running requests, cancels the rest, and runs the app's lifespan shutdown.

        Args:
            drain: seconds to wait for running requests.
            tasks: further seconds to wait for calls that continue after their response.

        Returns:
            False if requests ignored the cancellation for 10 seconds.
        """
        idle = await self._wait_idle(drain)
        if not idle:
            self._core.cancel(False)
            await self._wait_for_tasks(tasks)
            self._core.cancel(True)
            idle = await self._wait_idle(_SHUTDOWN_SECONDS)
        await self._lifespan.shutdown()
        _unwatch(asyncio.get_running_loop(), self._core)
        if idle:
            self._core.stop()
            request_ids.apps.discard(self._app_id)
        return idle

    async def _wait_for_tasks(self, seconds: float) -> None:
        end = monotonic() + seconds
        if seconds and (scopes := self._core.answered()):
            text = f"waiting for tasks that run after their responses: {_names(scopes)}"
            logs.emit(logging.INFO, "caddysnake", text)
        while (scopes := self._core.answered()) and monotonic() < end:
            await asyncio.sleep(_POLL_SECONDS)
        if scopes:
            text = f"tasks that ran after their responses are cancelled: {_names(scopes)}"
            logs.emit(logging.WARNING, "caddysnake", text)

    async def _wait_idle(self, seconds: float) -> bool:
        if not self._core.inflight:
            return True
        # Not in the loop's default executor: the app's own jobs may occupy all of its threads.
        done: asyncio.Future[bool] = asyncio.get_running_loop().create_future()

        def wait() -> None:
            idle = self._core.wait_idle(seconds)
            done.get_loop().call_soon_threadsafe(done.set_result, idle)

        threading.Thread(target=wait, name="drain", daemon=True).start()
        return await done
