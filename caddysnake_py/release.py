"""Frees what is left of an app that was unloaded, or that failed to load.

Its modules go with its view, unless something that outlives it refers to them. That is found and
let go here: caches of shared packages, handlers of shared loggers, filters of warnings.
"""

from __future__ import annotations

import dataclasses
import functools
import gc
import linecache
import logging
import os
import queue
import sys
import threading
import time
import warnings
import weakref
from collections.abc import Iterable, Sequence
from types import ModuleType

import _caddysnake

from caddysnake_py import logs
from caddysnake_py.layers import App

_Cache = type(functools.lru_cache(lambda: None))
# Enough for function -> globals behind a dataclass in a tuple in a cache; a limit, so that a cache
# with half the heap behind it does not hold everything up.
_DEPTH = 8
_OBJECTS = 20_000
_GATHER = 0.2  # seconds
_RETRY = 3.0


class _Mark:
    """Put among the globals of a module, so that a weak reference can tell whether these still
    exist: functions keep them alive without the module."""


@dataclasses.dataclass(slots=True, frozen=True)
class Remnant:
    """What should go with an app: the globals of a module, or a class that is defined there.

    Attributes:
        module: the module's name.
        witness: lives as long as it does.
        addresses: of the objects.
    """

    module: str
    witness: weakref.ref[object]
    addresses: tuple[int, ...]


class _Searcher:
    """Tells whether objects refer to modules that should be gone.

    What belongs to a module is told by its functions, which refer to its globals. The globals of
    other modules are not searched: everything is behind them.
    """

    def __init__(self, remnants: Iterable[Remnant]) -> None:
        self._targets = {address for each in remnants for address in each.addresses}
        self._innocent: set[int] = set()

    def refers(self, start: Iterable[object]) -> bool:
        seen: set[int] = set()
        level = list(start)
        for _ in range(_DEPTH):
            following: list[object] = []
            for item in level:
                if id(item) in self._targets:
                    return True
                if id(item) in seen or id(item) in self._innocent or self._is_wall(item):
                    continue
                seen.add(id(item))
                following += gc.get_referents(item)
            if not following or len(seen) > _OBJECTS:
                break
            level = following
        self._innocent |= seen
        return False

    @staticmethod
    def _is_wall(item: object) -> bool:
        if issubclass(type(item), ModuleType):
            return True
        return type(item) is dict and "__spec__" in item and "__name__" in item


def _clear_caches(search: _Searcher) -> None:
    for cache in _caddysnake.instances_of(_Cache):
        if cache.cache_info().currsize:
            held = [item for item in gc.get_referents(cache) if item is not cache.__wrapped__]
            if search.refers(held):
                cache.cache_clear()


def _loggers() -> list[logging.Logger]:
    named = logging.Logger.manager.loggerDict.values()
    return [logging.root, *(each for each in named if isinstance(each, logging.Logger))]


def _clear_logging(search: _Searcher) -> None:
    for logger in _loggers():
        for handler in list(logger.handlers):
            if search.refers([handler]):
                logger.removeHandler(handler)
        for entry in list(logger.filters):
            if search.refers([entry]):
                logger.removeFilter(entry)


def _clear_warnings(search: _Searcher) -> None:
    warnings.filters[:] = [  # type: ignore[index]
        entry for entry in warnings.filters if not search.refers([entry])
    ]


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


def remnants_of(view: App) -> list[Remnant]:
    """Returns what should go with a view."""
    layers = list(view.layer.chain())
    found = []
    for name, module in view.modules.items():
        is_shared = sys.modules.get(name) is module or any(
            layer.modules.get(name) is module for layer in layers
        )
        if type(module) is not ModuleType or is_shared:
            continue
        mark = _Mark()
        content = module.__dict__
        found.append(Remnant(name, weakref.ref(mark), (id(module), id(content))))
        for value in content.values():
            # Not isinstance(), which wakes lazy objects up by asking for their __class__.
            if issubclass(type(value), type) and value.__module__ == name:
                found.append(Remnant(name, weakref.ref(value), (id(value),)))
        content["__caddysnake_mark__"] = mark
    return found


@dataclasses.dataclass(slots=True)
class Leftovers:
    """What an app has left behind.

    Attributes:
        attempts: how often it may still be looked at; threads of the app may be about to end.
    """

    app: int
    directories: tuple[str, ...]
    remnants: list[Remnant]
    attempts: int = 3

    @property
    def alive(self) -> list[Remnant]:
        return [each for each in self.remnants if each.witness() is not None]


_waiting: queue.SimpleQueue[Leftovers] = queue.SimpleQueue()


def free_later(view: App) -> None:
    """Has everything freed that goes with a view. The caller must let go of it."""
    _waiting.put(Leftovers(view.app, view.directories, remnants_of(view)))


def _take(again: list[Leftovers]) -> list[Leftovers]:
    """Waits for leftovers, and a little longer for those of others: a collection takes as long
    for many apps as for one."""
    found = list(again)
    try:
        found.append(_waiting.get(timeout=_RETRY if again else None))
        time.sleep(_GATHER)
        while True:
            found.append(_waiting.get_nowait())
    except queue.Empty:
        return found


def _free(leftovers: list[Leftovers]) -> list[Leftovers]:
    """Frees what it can and returns what is to be looked at again."""
    for each in leftovers:
        forget_files(each.directories)
    _caddysnake.forget_answers()
    gc.collect()
    left = [remnant for each in leftovers for remnant in each.alive]
    if left:
        search = _Searcher(left)
        _clear_caches(search)
        _clear_logging(search)
        _clear_warnings(search)
        gc.collect()
    again = []
    for each in leftovers:
        modules = {remnant.module for remnant in each.alive}
        each.attempts -= 1
        if modules and each.attempts:
            again.append(each)
        elif modules:
            names = ", ".join(sorted(modules))
            text = f"modules of an unloaded application are still in use: {names}"
            logs.emit(logging.DEBUG, "caddysnake", text, each.app)
    return again


def _work() -> None:
    again: list[Leftovers] = []
    while True:
        try:
            again = _free(_take(again))
        except Exception as error:
            again = []
            text = f"freeing unloaded applications: {logs.format_exception(error)}"
            logs.emit(logging.ERROR, "caddysnake", text)


def start() -> None:
    """Starts the thread that frees what `free_later` is given."""
    threading.Thread(target=_work, name="release", daemon=True).start()
