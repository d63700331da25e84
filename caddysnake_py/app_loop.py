"""The life of an app's event loop: it runs until the server ends it, whatever the app does."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from time import sleep
from typing import Any

from caddysnake_py import logs

_SHUTDOWN_SECONDS = 10.0
_PAUSE_SECONDS = 0.05
_STOPPED = (
    "the application has stopped its event loop, upon which other servers would exit: the loop was "
    "restarted, and its tasks continue; further stops are not logged"
)


class ServerOwned:
    """A mixin for loops that only the server may close: requests could not run on a closed loop."""

    _may_close = False

    def close(self) -> None:
        """Raises RuntimeError if the app calls it, as a running loop does."""
        if not self._may_close:
            raise RuntimeError("the event loop is the server's to close")
        super().close()  # type: ignore[misc]


def owned(base: type[Any]) -> type[Any]:
    """Returns a loop's class that only the server may close."""

    class Loop(ServerOwned, base):  # type: ignore[misc]
        __module__ = base.__module__  # libraries recognise uvloop by it

    return Loop


class AppLoop:
    """An event loop that one app is loaded, served and shut down on.

    Attributes:
        loop: the loop.
    """

    def __init__(
        self, app_id: int, loop: asyncio.AbstractEventLoop, interruptible: bool = False
    ) -> None:
        """Args:
        interruptible: whether a KeyboardInterrupt, which SIGINT raises, ends the run.
        """
        self.loop = loop
        self._interruptible = interruptible
        self._app_id = app_id
        self._ending = False

    def end(self) -> None:
        """Makes `run` return. Thread-safe; does not wait."""
        self.loop.call_soon_threadsafe(self._stop)

    def _stop(self) -> None:
        self._ending = True
        self.loop.stop()

    def run(self) -> None:
        """Runs the loop on this thread until `end`, then closes it."""
        loop = self.loop
        asyncio.set_event_loop(loop)
        stopped_before = False
        while not self._ending:
            try:
                loop.run_forever()
            except BaseException as error:  # such as SystemExit in a task of the app
                if self._interruptible and isinstance(error, KeyboardInterrupt):
                    raise
                logs.app_exception(self._app_id, error, "a task of the ASGI application", None)
                sleep(_PAUSE_SECONDS)  # avoids a busy loop if the exception repeats
                continue
            # The app stopped the loop. Its tasks are intact and continue (docs/decisions/0036).
            if not self._ending and not stopped_before:
                stopped_before = True
                logs.emit(logging.ERROR, "caddysnake", _STOPPED, self._app_id)
        if isinstance(loop, ServerOwned):
            loop._may_close = True
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
