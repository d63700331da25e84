"""The event loop of an application in a worker, on the main thread.

No task of the server waits on the loop while it serves: applications may cancel every task that
they find.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from concurrent.futures import Future
from typing import Any

from caddysnake_py.app_loop import AppLoop, owned
from caddysnake_py.limits import Limits
from caddysnake_py.loop_kind import LoopKind, find_uvloop

Stop = Callable[[float, float], Awaitable[bool]]


def new_loop(kind: LoopKind) -> asyncio.AbstractEventLoop:
    """Returns a new event loop for the main thread.

    Raises:
        LoadError: ``kind`` is uvloop, and uvloop is not installed.
    """
    uvloop: Any = find_uvloop(kind)
    base = asyncio.SelectorEventLoop if uvloop is None else uvloop.Loop
    loop: asyncio.AbstractEventLoop = owned(base)()
    return loop


class LoopRun:
    """One run of the loop: the application is loaded, served and stopped.

    Attributes:
        idle: whether all requests had ended at the stop.
    """

    def __init__(
        self, app_id: int, kind: LoopKind, load: Callable[[], Awaitable[Stop | None]]
    ) -> None:
        """Args:
        load: loads the application on the loop and starts serving it. Returns what stops it; None
            if it does not need a loop.
        """
        self._app_loop = AppLoop(app_id, new_loop(kind), interruptible=True)
        self._load = load
        self._error: BaseException | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self.idle = True

    def run(self, stopping: Future[Limits]) -> None:
        """Runs until ``stopping`` is set and the application has stopped.

        Raises:
            LoadError: the configuration is wrong, or the app is not usable.
            BaseException: any exception that the application raises while it is loaded or stopped.
        """
        self._start(self._begin(stopping))
        self._app_loop.run()
        if self._error is not None:
            raise self._error

    def _start(self, coroutine: Any) -> None:
        task = self._app_loop.loop.create_task(coroutine)
        self._tasks.add(task)  # the loop itself has only a weak reference
        task.add_done_callback(self._tasks.discard)

    async def _begin(self, stopping: Future[Limits]) -> None:
        loop = self._app_loop.loop
        try:
            stop = await self._load()
        except BaseException as error:  # SystemExit would propagate out of run_forever()
            self._error = error
            stop = None
        if stop is None:
            self._app_loop.end()
            return

        def end(done: Future[Limits]) -> None:
            loop.call_soon_threadsafe(lambda: self._start(self._end(stop, done.result())))

        stopping.add_done_callback(end)

    async def _end(self, stop: Stop, limits: Limits) -> None:
        try:
            self.idle = await stop(limits.drain, limits.tasks)
        except BaseException as error:  # the app may have cancelled this task
            self._error = error
        finally:
            self._app_loop.end()
