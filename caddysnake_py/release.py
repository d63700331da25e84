"""Frees what is left of an app that was unloaded, or that failed to load.

Its modules go with its view, unless something that outlives it refers to them; what is known to do
so is made to let go (`holders.py`). A full collection would stop the threads of all apps, for a
second with a few million objects. So what goes with the app is collected alone, and a full one
follows later, if at all.
"""

from __future__ import annotations

import dataclasses
import gc
import linecache
import logging
import os
import queue
import sys
import threading
import time
from collections.abc import Sequence

import _caddysnake

from caddysnake_py import holders, logs, threads
from caddysnake_py.belongings import Belongings
from caddysnake_py.layers import AppView

_GATHER = 0.2  # seconds
_RETRY = 1.0
_SHARE = 0.02  # of a thread's time


def forget_files(directories: Sequence[str]) -> None:
    """Drops what is cached about files, so that the next load looks at them again."""
    roots = [*directories, *map(os.path.realpath, directories)]
    below = tuple(os.path.join(root, "") for root in roots)
    for path in list(sys.path_importer_cache):
        if isinstance(path, str) and os.path.join(path, "").startswith(below):
            sys.path_importer_cache.pop(path, None)
    for path in list(linecache.cache):
        if path.startswith(below):
            linecache.cache.pop(path, None)


@dataclasses.dataclass(slots=True)
class UnloadedApp:
    """What an app has left behind.

    Attributes:
        sweeps: how often it is still swept before all is collected; threads of the app may be about
            to end.
        collections: how often all is still collected for it.
        threads: those of the app that run; emptied when they have been reported.
    """

    app: int
    directories: tuple[str, ...]
    belongings: Belongings
    threads: dict[int, str]
    sweeps: int = 3
    collections: int = 2


class _Pace:
    """Keeps the collections that stop all threads apart, so that these lose little time."""

    def __init__(self) -> None:
        self._next = 0.0

    def allows(self) -> bool:
        return time.monotonic() >= self._next

    def collect(self) -> None:
        before = time.thread_time()
        gc.collect()
        took = time.thread_time() - before
        self._next = time.monotonic() + took / _SHARE


_waiting: queue.SimpleQueue[UnloadedApp] = queue.SimpleQueue()


def free_later(view: AppView) -> None:
    """Has everything freed that goes with a view. The caller must let go of it."""
    _waiting.put(UnloadedApp(view.app, view.directories, Belongings(view), view.threads))


def _take(timeout: float | None) -> list[UnloadedApp]:
    """Waits for unloaded, and a little longer: what was unloaded may not have come to its end."""
    found = []
    try:
        found.append(_waiting.get(timeout=timeout))
        time.sleep(_GATHER)
        while True:
            found.append(_waiting.get_nowait())
    except queue.Empty:
        return found


def _sweep(unloaded: list[UnloadedApp], *, anew: bool) -> list[UnloadedApp]:
    """Frees what it can, one app at a time, and returns those of which something is left."""
    for last in (False, True):
        for each in unloaded:
            _caddysnake.collect(each.belongings.take())
        unloaded = [each for each in unloaded if each.belongings.alive]
        if unloaded and not last:
            alive = (leftover for each in unloaded for leftover in each.belongings.alive)
            holders.let_go(alive, anew=anew)
    for each in unloaded:
        each.sweeps -= 1
        if each.sweeps == 0:
            _report_threads(each)
    return unloaded


def _report_threads(each: UnloadedApp) -> None:
    """Says once which threads go on with code that should be gone. Nobody can end them."""
    names = threads.names_of(each.threads)
    each.threads = {}
    if names:
        text = (
            f"threads of an unloaded application in {each.directories[0]} go on: "
            f"{', '.join(names)}; end them in its lifespan shutdown, or in a function that it "
            f"registers with atexit"
        )
        logs.emit(logging.WARNING, "caddysnake", text, each.app)


def _collect(unloaded: list[UnloadedApp], pace: _Pace) -> list[UnloadedApp]:
    """Looks for what holds them among all objects, and returns those to look at again."""
    pace.collect()
    again = []
    for each in _sweep(unloaded, anew=True):
        each.collections -= 1
        if each.collections:
            again.append(each)
        else:
            names = ", ".join(sorted({leftover.module for leftover in each.belongings.alive}))
            text = f"modules of an unloaded application are still in use: {names}"
            logs.emit(logging.DEBUG, "caddysnake", text, each.app)
    return again


def _free(new: list[UnloadedApp], old: list[UnloadedApp], pace: _Pace) -> list[UnloadedApp]:
    """Frees what it can, and returns what is to be looked at again."""
    for each in new:
        forget_files(each.directories)
        each.belongings.add(_caddysnake.take_locals(each.app))
    _caddysnake.forget_answers()
    swept = _sweep([*new, *(each for each in old if each.sweeps > 0)], anew=False)
    stubborn = [each for each in old if each.sweeps <= 0 and each.belongings.alive]
    if stubborn and pace.allows():
        stubborn = _collect(stubborn, pace)
    return swept + stubborn


def _work() -> None:
    pace = _Pace()
    left: list[UnloadedApp] = []
    while True:
        try:
            left = _free(_take(_RETRY if left else None), left, pace)
        except Exception as error:
            left = []
            text = f"freeing unloaded applications: {logs.format_exception(error)}"
            logs.emit(logging.ERROR, "caddysnake", text)


def start() -> None:
    """Starts the thread that frees what `free_later` is given."""
    threading.Thread(target=_work, name="release", daemon=True).start()
