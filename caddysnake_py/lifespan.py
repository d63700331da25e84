"""The lifespan protocol, version 2.0 (ASGI specification, "Lifespan Protocol")."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Any, Literal

from caddysnake_py import logs
from caddysnake_py.loader import LoadError

Mode = Literal["auto", "on", "off"]


class Lifespan:
    """Runs the lifespan of one app as a task on the loop that serves the app.

    Attributes:
        state: the dict ``scope["state"]``, which the app fills; every request gets a shallow copy.
            None if the app does not support lifespan.
    """

    def __init__(self, app: Callable[..., Awaitable[None]], mode: Mode) -> None:
        self._app = app
        self._mode = mode
        self._events: asyncio.Queue[dict[str, str]] = asyncio.Queue()
        self._answered = asyncio.Event()
        self._failure: str | None = None
        self._task: asyncio.Task[None] | None = None
        self._asked: Literal["startup", "shutdown"] = "startup"
        self.state: dict[str, Any] | None = None

    async def startup(self) -> None:
        """Sends ``lifespan.startup`` and waits for the answer.

        Raises:
            LoadError: the app reported a failure, or does not support lifespan and mode is "on".
        """
        if self._mode == "off":
            return
        self.state = {}
        self._task = asyncio.get_running_loop().create_task(self._run())
        error = await self._ask("startup")
        if self._failure is not None:
            raise LoadError(f"the app's startup failed: {self._failure or 'no reason given'}")
        if self._task.done() and not self._answered.is_set():
            # An app without lifespan support raises on this scope (ASGI, "Lifespan Protocol").
            self.state = None
            if self._mode == "on":
                raise LoadError("lifespan is on, but the app does not support it") from error
            if error is not None:
                logs.emit(
                    logging.DEBUG, "caddysnake", f"the app does not support lifespan: {error!r}"
                )

    async def shutdown(self) -> None:
        """Sends ``lifespan.shutdown`` and waits for the answer; failures are logged."""
        if self._task is None or self._task.done():
            return
        error = await self._ask("shutdown")
        if self._failure is not None:
            logs.emit(logging.ERROR, "caddysnake", f"the app's shutdown failed: {self._failure}")
        elif error is not None and not self._answered.is_set():
            logs.emit(
                logging.ERROR,
                "caddysnake",
                f"exception in the app's shutdown\n{logs.format_exception(error)}",
            )

    async def _ask(self, what: Literal["startup", "shutdown"]) -> BaseException | None:
        """Sends an event and waits until the app has answered or returned; returns the exception if
        the app raised one."""
        assert self._task is not None
        self._asked = what
        self._answered.clear()
        self._events.put_nowait({"type": f"lifespan.{what}"})
        answered = asyncio.ensure_future(self._answered.wait())
        await asyncio.wait({answered, self._task}, return_when=asyncio.FIRST_COMPLETED)
        answered.cancel()
        if not self._task.done() or self._task.cancelled():
            return None
        return self._error

    async def _run(self) -> None:
        self._error: BaseException | None = None
        scope = {
            "type": "lifespan",
            "asgi": {"version": "3.0", "spec_version": "2.0"},
            "state": self.state,
        }
        try:
            await self._app(scope, self._events.get, self._send)
        except asyncio.CancelledError:
            raise
        except BaseException as error:
            self._error = error
            # Otherwise the caller of _ask() reports the exception.
            if self._answered.is_set() and self._failure is None:
                logs.emit(
                    logging.ERROR,
                    "caddysnake",
                    f"exception in the app's lifespan\n{logs.format_exception(error)}",
                )

    async def _send(self, message: dict[str, Any]) -> None:
        kind = message["type"]
        if kind == f"lifespan.{self._asked}.failed":
            self._failure = str(message.get("message", ""))
        elif kind != f"lifespan.{self._asked}.complete":
            raise RuntimeError(f"unexpected ASGI message {kind!r} during {self._asked}")
        self._answered.set()
