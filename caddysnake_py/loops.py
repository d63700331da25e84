"""Event loops of ASGI apps: asyncio's loop with our own selector, or uvloop."""

from __future__ import annotations

import asyncio
import functools
import logging
import selectors
from collections.abc import Callable, Mapping
from typing import Any, Literal

import _caddysnake

from caddysnake_py import cpython, guards, logs, subprocesses
from caddysnake_py.loader import LoadError

LoopKind = Literal["auto", "asyncio", "uvloop"]

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


class _ServerOwned:
    """A mixin for loops that only the server may close: requests could not run on a closed loop."""

    _may_close = False

    def close(self) -> None:
        """Raises RuntimeError if the app calls it, as a running loop does."""
        if not self._may_close:
            raise RuntimeError("the event loop is the server's to close")
        super().close()  # type: ignore[misc]


class EventLoop(_ServerOwned, asyncio.SelectorEventLoop):
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
    """Returns a new event loop for an app. ``auto`` selects uvloop if it can be imported.

    Raises:
        LoadError: ``kind`` is uvloop, and uvloop is not installed.
    """
    if kind != "asyncio":
        try:
            import uvloop  # type: ignore[import-not-found,unused-ignore]

            class Loop(_ServerOwned, uvloop.Loop):  # type: ignore[misc,unused-ignore]
                __module__ = uvloop.Loop.__module__  # libraries recognise uvloop by it

            loop: asyncio.AbstractEventLoop = Loop()
            subprocesses.set_up_uvloop(loop)
            original: Any = loop.add_signal_handler
            handle: Any = functools.partial(guards.add_signal_handler, original)
            loop.add_signal_handler = handle  # type: ignore[method-assign]
            return loop
        except ImportError as error:
            if kind == "uvloop":
                raise LoadError(f"loop uvloop: {error}; install it into the app's venv") from None
    return asyncio.SelectorEventLoop() if cpython.LOOPS in cpython.absent else EventLoop(core)


def allow_close(loop: asyncio.AbstractEventLoop) -> None:
    """Lets ``loop.close()`` close the loop, after the app has ended."""
    if isinstance(loop, _ServerOwned):
        loop._may_close = True


def serve(loop: asyncio.AbstractEventLoop, core: _caddysnake.Generation) -> None:
    """Makes a loop start the app's requests from now on."""
    if isinstance(loop, EventLoop):
        loop.watch_requests(core.drain)
    else:
        loop.add_reader(core.watch(), core.drain)


def stop_serving(loop: asyncio.AbstractEventLoop, core: _caddysnake.Generation) -> None:
    """Reverts `serve`."""
    if not isinstance(loop, EventLoop):
        loop.remove_reader(core.watch())
