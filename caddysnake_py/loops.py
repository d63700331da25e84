"""Event loops of the ASGI apps in Caddy's process: asyncio's loop with our own selector, or
uvloop."""

from __future__ import annotations

import asyncio
import functools
import logging
import selectors
from collections.abc import Callable, Mapping
from typing import Any

import _caddysnake

from caddysnake_py import cpython, guards, logs, subprocesses
from caddysnake_py.app_loop import ServerOwned, owned
from caddysnake_py.loop_kind import LoopKind, find_uvloop

_Event = tuple[selectors.SelectorKey, int]
_NOTHING: list[_Event] = []


class Selector(selectors.BaseSelector):
    """The selector of an app's asyncio loop: wakes for requests, for other threads, and for files
    that the app has registered.

    It opens an epoll descriptor only when the app registers a file, because a server may have
    thousands of apps, each with a loop.
    """

    def __init__(self, core: _caddysnake.Generation) -> None:
        self._select = core.select
        self._files: selectors.EpollSelector | None = None
        self._requests: list[_Event] = []

    def watch_requests(self, start: asyncio.Handle) -> None:
        """Makes the loop call ``start`` when there are requests, like the callback of a readable
        file.

        Not called in ``select`` itself: tasks that it wakes must run after timers that are due, so
        that a timeout can still cancel a pending ``receive``.
        """
        key = selectors.SelectorKey(-1, -1, selectors.EVENT_READ, (start, None))
        self._requests = [(key, selectors.EVENT_READ)]

    def select(self, timeout: float | None = None) -> list[_Event]:
        files = self._files
        if files is None:
            return self._requests if self._select(timeout, -1) else _NOTHING
        try:
            what = self._select(timeout, files.fileno())
            events = files.select(0) if what & _caddysnake.FILES else _NOTHING
        except (OSError, ValueError) as error:
            # The app has closed the epoll descriptor. Its files are lost; requests still work.
            self._files = None
            logs.emit(logging.ERROR, "caddysnake", f"the event loop has lost its files: {error}")
            return self._requests
        return self._requests + events if what & _caddysnake.TURN else events

    def _opened(self) -> selectors.EpollSelector:
        if self._files is None:
            self._files = selectors.EpollSelector()
        return self._files

    def register(self, fileobj: Any, events: int, data: Any = None) -> selectors.SelectorKey:
        return self._opened().register(fileobj, events, data)

    def unregister(self, fileobj: Any) -> selectors.SelectorKey:
        return self._opened().unregister(fileobj)

    def modify(self, fileobj: Any, events: int, data: Any = None) -> selectors.SelectorKey:
        return self._opened().modify(fileobj, events, data)

    def get_map(self) -> Mapping[Any, selectors.SelectorKey]:
        return {} if self._files is None else self._files.get_map()

    def close(self) -> None:
        files, self._files = self._files, None
        if files is not None:
            files.close()


class EventLoop(ServerOwned, asyncio.SelectorEventLoop):
    """asyncio's loop for one app. Other threads wake it through the core, not through a socket
    pair. Overrides the methods of `cpython.LOOP_METHODS`."""

    def __init__(self, core: _caddysnake.Generation) -> None:
        self._core = core
        self._requests = Selector(core)
        super().__init__(self._requests)

    def watch_requests(self, start: Callable[[], None]) -> None:
        """Makes the loop call ``start`` when there are requests."""
        self._requests.watch_requests(asyncio.Handle(start, (), self))

    def _make_self_pipe(self) -> None:
        pass

    def _close_self_pipe(self) -> None:
        pass

    def _write_to_self(self) -> None:
        self._core.wake()

    def add_signal_handler(self, sig: int, *args: Any) -> None:  # type: ignore[override]
        """Only logs a warning, as ``signal.signal`` does: Caddy handles the signals."""
        guards.add_signal_handler(super().add_signal_handler, sig, *args)


def new_loop(kind: LoopKind, core: _caddysnake.Generation) -> asyncio.AbstractEventLoop:
    """Returns a new event loop for an app.

    Raises:
        LoadError: ``kind`` is uvloop, and uvloop is not installed.
    """
    uvloop: Any = find_uvloop(kind)
    if uvloop is None:
        return asyncio.SelectorEventLoop() if cpython.LOOPS in cpython.absent else EventLoop(core)
    loop: asyncio.AbstractEventLoop = owned(uvloop.Loop)()
    subprocesses.set_up_uvloop(loop)
    original: Any = loop.add_signal_handler
    handle: Any = functools.partial(guards.add_signal_handler, original)
    loop.add_signal_handler = handle  # type: ignore[method-assign]
    return loop
