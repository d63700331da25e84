"""Frees the objects of an app that was unloaded, or that failed to load.

The app's modules are freed with its view, unless an object that outlives the app refers to them.
`holders.py` removes the known references of that kind. A full garbage collection would stop the
threads of all apps, for a second with a few million objects. So only the app's objects are
collected first; a full collection follows later, if it is needed.
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
_RETRY = 1.0  # seconds
_SHARE = 0.02  # limit of the time spent in full collections, as a share of wall-clock time


def forget_files(directories: Sequence[str]) -> None:
    """Drops cached directory listings and source lines, so that the next load reads the files
    again."""
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
    """An unloaded app whose objects may still be alive.

    Attributes:
        app: the app's id.
        directories: the app's ``working_dir`` and ``python_path``.
        belongings: the app's objects.
        threads: running threads of the app: identity to name; emptied once they are reported.
        sweeps: remaining attempts to collect the app's objects alone, before a full collection;
            threads of the app may be about to end.
        collections: remaining full collections.
    """

    app: int
    directories: tuple[str, ...]
    belongings: Belongings
    threads: dict[int, str]
    sweeps: int = 3
    collections: int = 2


class _Pace:
    """Limits how often full collections run, because they stop all threads."""

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
    """Schedules a view and the objects of its app to be freed. The caller must drop its reference
    to the view."""
    _waiting.put(UnloadedApp(view.app, view.directories, Belongings(view), view.threads))


def _take(timeout: float | None) -> list[UnloadedApp]:
    """Waits for unloaded apps, and 0.2 s more: the thread that unloaded an app may still be
    returning."""
    found = []
    try:
        found.append(_waiting.get(timeout=timeout))
        time.sleep(_GATHER)
        while True:
            found.append(_waiting.get_nowait())
    except queue.Empty:
        return found


def _sweep(unloaded: list[UnloadedApp], *, force: bool) -> list[UnloadedApp]:
    """Collects the objects of each app and returns the apps with objects that are still alive.

    Args:
        force: search shared modules again for caches that refer to the apps.
    """
    for last in (False, True):
        for each in unloaded:
            _caddysnake.collect(each.belongings.take())
        unloaded = [each for each in unloaded if each.belongings.alive]
        if unloaded and not last:
            alive = (leftover for each in unloaded for leftover in each.belongings.alive)
            holders.drop_references(alive, force=force)
    for each in unloaded:
        each.sweeps -= 1
        if each.sweeps == 0:
            _report_threads(each)
    return unloaded


def _report_threads(each: UnloadedApp) -> None:
    """Logs once which threads still run the code of an unloaded app. A thread cannot be ended from
    outside."""
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
    """Runs a full collection, sweeps again, and returns the apps to retry later."""
    pace.collect()
    again = []
    for each in _sweep(unloaded, force=True):
        each.collections -= 1
        if each.collections:
            again.append(each)
        else:
            names = ", ".join(sorted({leftover.module for leftover in each.belongings.alive}))
            text = f"modules of an unloaded application are still in use: {names}"
            logs.emit(logging.DEBUG, "caddysnake", text, each.app)
    return again


def _free(new: list[UnloadedApp], old: list[UnloadedApp], pace: _Pace) -> list[UnloadedApp]:
    """Frees new and old unloaded apps, and returns the apps to retry later."""
    for each in new:
        forget_files(each.directories)
        each.belongings.add(_caddysnake.take_locals(each.app))
    _caddysnake.forget_answers()
    swept = _sweep([*new, *(each for each in old if each.sweeps > 0)], force=False)
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
    """Starts the thread that frees the views passed to `free_later`."""
    threading.Thread(target=_work, name="release", daemon=True).start()
