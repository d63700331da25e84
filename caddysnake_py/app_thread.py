"""The thread of an ASGI app in Caddy's process, with the app's event loop."""

from __future__ import annotations

import asyncio
import threading

import _caddysnake

from caddysnake_py import loops
from caddysnake_py.app_loop import AppLoop
from caddysnake_py.loop_kind import LoopKind

_SHUTDOWN_SECONDS = 10.0


class AppThread:
    """A thread with an event loop. One app is loaded, served and shut down on it.

    The app is imported inside the running loop, as under uvicorn, so objects that the app creates
    at import time belong to the loop that serves the app.
    """

    def __init__(
        self, app_id: int, name: str, loop: LoopKind, core: _caddysnake.Generation
    ) -> None:
        self._app_id = app_id
        self._kind = loop
        self._core = core
        self._started = threading.Event()
        self._failure: BaseException | None = None
        self._app_loop: AppLoop | None = None
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
        assert self._app_loop is not None
        return self._app_loop.loop

    def end(self) -> None:
        """Stops the loop, and with it the thread. Thread-safe; does not wait."""
        assert self._app_loop is not None
        self._app_loop.end()

    def join(self) -> bool:
        """Waits up to 10 seconds for the thread to end after `end`; False if it still runs."""
        self._thread.join(_SHUTDOWN_SECONDS)
        return not self._thread.is_alive()

    def _run(self) -> None:
        try:
            app_loop = AppLoop(self._app_id, loops.new_loop(self._kind, self._core))
        except BaseException as error:
            self._failure = error
            self._started.set()
            return
        self._app_loop = app_loop
        app_loop.loop.call_soon(self._started.set)
        app_loop.run()
