"""Serves ASGI apps: each app has an event loop on its own thread."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import sys
import threading
from collections.abc import Awaitable, Callable
from time import monotonic, sleep
from typing import Any

import _caddysnake

from caddysnake_py import logs, loops
from caddysnake_py.lifespan import Lifespan, Mode

_SHUTDOWN_SECONDS = 10.0
_PAUSE_SECONDS = 0.05
_POLL_SECONDS = 0.05
_MAX_NAMED = 10  # limit of tasks that a log record names
_STOPPED = (
    "the application has stopped its event loop, upon which other servers would exit: the loop was "
    "restarted, and its tasks continue; further stops are not logged"
)


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


class AppThread:
    """A thread with an event loop. One app is loaded, served and shut down on it.

    The app is imported inside the running loop, as under uvicorn, so objects that the app creates
    at import time belong to the loop that serves the app.
    """

    def __init__(
        self, app_id: int, name: str, loop: loops.LoopKind, core: _caddysnake.Generation
    ) -> None:
        self._app_id = app_id
        self._kind = loop
        self._core = core
        self._started = threading.Event()
        self._failure: BaseException | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._ending = False
        self._thread = threading.Thread(target=self._run, name=f"asgi-{name}", daemon=True)

    def start(self) -> asyncio.AbstractEventLoop:
        """Starts the thread and returns its running loop.

        Raises:
            LoadError: the configured kind of loop is not available.
        """
        self._thread.start()
        self._started.wait()
        if self._failure is not None:
            raise self._failure
        assert self._loop is not None
        return self._loop

    def end(self) -> None:
        """Stops the loop, and with it the thread. Thread-safe; does not wait."""
        assert self._loop is not None
        self._loop.call_soon_threadsafe(self._stop, self._loop)

    def join(self) -> bool:
        """Waits up to 10 seconds for the thread to end after `end`; False if it still runs."""
        self._thread.join(_SHUTDOWN_SECONDS)
        return not self._thread.is_alive()

    def _stop(self, loop: asyncio.AbstractEventLoop) -> None:
        self._ending = True
        loop.stop()

    def _run(self) -> None:
        try:
            loop = loops.new_loop(self._kind, self._core)
        except BaseException as error:
            self._failure = error
            self._started.set()
            return
        self._loop = loop
        asyncio.set_event_loop(loop)
        loop.call_soon(self._started.set)
        stopped_before = False
        while not self._ending:
            try:
                loop.run_forever()
            except BaseException as error:  # such as SystemExit in a task of the app
                logs.app_exception(self._app_id, error, "a task of the ASGI application", None)
                sleep(_PAUSE_SECONDS)  # avoids a busy loop if the exception repeats
                continue
            # The app stopped the loop. Its tasks are intact and continue (docs/decisions/0036).
            if not self._ending and not stopped_before:
                stopped_before = True
                logs.emit(logging.ERROR, "caddysnake", _STOPPED, self._app_id)
        loops.allow_close(loop)
        self._close(loop)

    @staticmethod
    def _close(loop: asyncio.AbstractEventLoop) -> None:
        try:
            tasks = asyncio.all_tasks(loop)
            for task in tasks:
                task.cancel()
            if tasks:
                loop.run_until_complete(asyncio.wait(tasks, timeout=_SHUTDOWN_SECONDS))
            loop.run_until_complete(loop.shutdown_asyncgens())
            loop.run_until_complete(
                asyncio.wait_for(loop.shutdown_default_executor(), _SHUTDOWN_SECONDS)
            )
        except BaseException as error:
            logs.emit(
                logging.ERROR,
                "caddysnake",
                f"exception while the event loop was closed\n{logs.format_exception(error)}",
            )
        finally:
            asyncio.set_event_loop(None)
            with contextlib.suppress(RuntimeError):
                loop.close()


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
        self, core: _caddysnake.Generation, app: Callable[..., Awaitable[None]], lifespan: Mode
    ) -> None:
        self._core = core
        self._app = app
        self._lifespan = Lifespan(app, lifespan)

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
        loops.serve(loop, self._core)

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
        loops.stop_serving(asyncio.get_running_loop(), self._core)
        if idle:
            self._core.stop()
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
