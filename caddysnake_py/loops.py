"""Event loops of ASGI apps: asyncio's with a selector of ours, or uvloop's."""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Mapping
from typing import Any, Literal

import _caddysnake

from caddysnake_py import subprocesses
from caddysnake_py.loader import LoadError

LoopKind = Literal["auto", "asyncio", "uvloop"]


class Selector(selectors.BaseSelector):
    """What an asyncio loop sleeps in: wakes for requests, which it starts itself, for other
    threads, and for files once the app has any to watch.

    Until then it has no file of its own: thousands of apps have thousands of loops.
    """

    def __init__(self, core: _caddysnake.App) -> None:
        self._select = core.select
        self._files: selectors.EpollSelector | None = None

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        files = self._files
        if files is None:
            self._select(timeout, -1)
        elif self._select(timeout, files.fileno()):
            return files.select(0)
        return []

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
        if self._files is not None:
            self._files.close()


class EventLoop(asyncio.SelectorEventLoop):
    """asyncio's loop for one app, which other threads wake through the app, not through a pair of
    sockets."""

    def __init__(self, core: _caddysnake.App) -> None:
        self._core = core
        super().__init__(Selector(core))

    def _make_self_pipe(self) -> None:
        pass

    def _close_self_pipe(self) -> None:
        pass

    def _write_to_self(self) -> None:
        self._core.wake()

    def add_signal_handler(self, *_: Any) -> None:  # type: ignore[override]
        """Raises RuntimeError, as asyncio does on every thread but the main one."""
        raise RuntimeError("signal handlers work in the main thread only, and signals are Caddy's")


def new_loop(kind: LoopKind, core: _caddysnake.App) -> asyncio.AbstractEventLoop:
    """Returns a new event loop for an app; ``auto`` is uvloop where it can be imported.

    Raises:
        LoadError: ``kind`` is uvloop and it is not installed.
    """
    if kind != "asyncio":
        try:
            import uvloop  # type: ignore[import-not-found,unused-ignore]

            loop: asyncio.AbstractEventLoop = uvloop.new_event_loop()
            subprocesses.set_up_uvloop(loop)
            return loop
        except ImportError as error:
            if kind == "uvloop":
                raise LoadError(f"loop uvloop: {error}; install it into the app's venv") from None
    return EventLoop(core)


def serve(loop: asyncio.AbstractEventLoop, core: _caddysnake.App) -> None:
    """Has a loop start the app's requests from now on; ours does so by itself."""
    if not isinstance(loop, EventLoop):
        loop.add_reader(core.watch(), core.drain)


def leave(loop: asyncio.AbstractEventLoop, core: _caddysnake.App) -> None:
    """Ends what ``serve`` began."""
    if not isinstance(loop, EventLoop):
        loop.remove_reader(core.watch())
