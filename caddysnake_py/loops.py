"""Event loops of ASGI apps: asyncio's with a selector of ours, or uvloop's."""

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
    """What an asyncio loop sleeps in: wakes for requests, for other threads, and for files once
    the app has any to watch.

    Until then it has no file of its own: thousands of apps have thousands of loops.
    """

    def __init__(self, core: _caddysnake.Generation) -> None:
        self._select = core.select
        self._files: selectors.EpollSelector | None = None
        self._requests: list[_Event] = []

    def watch_requests(self, start: asyncio.Handle) -> None:
        """Has the loop call ``start`` when there are requests, as if a file had become readable.

        As a callback in the loop's order, not in ``select``: what is woken by it then comes after
        timers that are due, and a timeout finds a ``receive`` that it can still call off.
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
            # The app has closed its descriptor: its files are lost, but requests need none.
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


class _Lasting:
    """A loop that only the server closes: requests would come to a loop that is closed."""

    _may_close = False

    def close(self) -> None:
        """Raises RuntimeError in the app, as for a loop that runs."""
        if not self._may_close:
            raise RuntimeError("the event loop is the server's to close")
        super().close()  # type: ignore[misc]


class EventLoop(_Lasting, asyncio.SelectorEventLoop):
    """asyncio's loop for one app, which other threads wake through the app, not through a pair of
    sockets. Replaces the methods of `cpython.LOOP_METHODS`."""

    def __init__(self, core: _caddysnake.Generation) -> None:
        self._core = core
        self._requests = Selector(core)
        super().__init__(self._requests)

    def watch_requests(self, start: Callable[[], None]) -> None:
        """Has ``start`` called when there are requests."""
        self._requests.watch_requests(asyncio.Handle(start, (), self))

    def _make_self_pipe(self) -> None:
        pass

    def _close_self_pipe(self) -> None:
        pass

    def _write_to_self(self) -> None:
        self._core.wake()

    def add_signal_handler(self, sig: int, *args: Any) -> None:  # type: ignore[override]
        """Only warns, as ``signal.signal`` does: signals are Caddy's."""
        guards.add_signal_handler(super().add_signal_handler, sig, *args)


def new_loop(kind: LoopKind, core: _caddysnake.Generation) -> asyncio.AbstractEventLoop:
    """Returns a new event loop for an app; ``auto`` is uvloop where it can be imported.

    Raises:
        LoadError: ``kind`` is uvloop and it is not installed.
    """
    if kind != "asyncio":
        try:
            import uvloop  # type: ignore[import-not-found,unused-ignore]

            class Loop(_Lasting, uvloop.Loop):  # type: ignore[misc,unused-ignore]
                __module__ = uvloop.Loop.__module__  # by which libraries tell it

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
    """Lets ``loop.close()`` do so: the app has ended."""
    if isinstance(loop, _Lasting):
        loop._may_close = True


def serve(loop: asyncio.AbstractEventLoop, core: _caddysnake.Generation) -> None:
    """Has a loop start the app's requests from now on."""
    if isinstance(loop, EventLoop):
        loop.watch_requests(core.drain)
    else:
        loop.add_reader(core.watch(), core.drain)


def leave(loop: asyncio.AbstractEventLoop, core: _caddysnake.Generation) -> None:
    """Ends what ``serve`` began."""
    if not isinstance(loop, EventLoop):
        loop.remove_reader(core.watch())
