"""Removes references to an unloaded app from objects that outlive it: caches of shared packages,
handlers and filters of loggers, warning filters."""

from __future__ import annotations

import gc
import logging
import sys
import warnings
import weakref
from collections.abc import Iterable
from types import ModuleType
from typing import Any

from caddysnake_py.belongings import Cache, Leftover, is_namespace, namespace_of, walk
from caddysnake_py.layers import every_layer
from caddysnake_py.view import View

# Deep enough for cache -> tuple -> dataclass -> function -> globals. The limits bound the time for
# a cache from which a large part of the heap is reachable.
_DEPTH = 8
_OBJECTS = 20_000


class _Search:
    """Finds out whether objects refer to modules that should have been freed.

    Objects of a module reach the module's globals through their functions. The globals of other
    modules are not searched, because nearly every object is reachable from them.
    """

    def __init__(self, leftovers: Iterable[Leftover]) -> None:
        self._targets = {address for each in leftovers for address in each.addresses}
        self._unrelated: set[int] = set()

    def refers(self, start: Iterable[object]) -> bool:
        seen: set[int] = set()
        level = list(start)
        for _ in range(_DEPTH):
            following: list[object] = []
            for item in level:
                if id(item) in self._targets:
                    return True
                if id(item) in seen or id(item) in self._unrelated or self._is_boundary(item):
                    continue
                seen.add(id(item))
                following += gc.get_referents(item)
            if not following or len(seen) > _OBJECTS:
                break
            level = following
        self._unrelated |= seen
        return False

    @staticmethod
    def _is_boundary(item: object) -> bool:
        return issubclass(type(item), ModuleType) or is_namespace(item)


class _Caches:
    """The ``functools.lru_cache`` objects of shared packages."""

    def __init__(self) -> None:
        self._known: weakref.WeakSet[Any] = weakref.WeakSet()
        self._searched = 0  # number of modules at the last search

    def find(self, *, force: bool) -> None:
        """Searches for caches reachable from shared modules, if the number of modules has changed
        since the last search, or if ``force`` is true."""
        found = [sys.modules, *(layer.modules for layer in every_layer())]
        modules = [each for modules in found for each in list(modules.values())]
        if force or len(modules) != self._searched:
            self._searched = len(modules)
            roots = [each for each in modules if issubclass(type(each), ModuleType)]
            own = {id(namespace_of(module)) for module in roots}

            def is_boundary(item: Any) -> bool:
                kind = type(item)
                return issubclass(kind, (ModuleType, View)) or (
                    is_namespace(item) and id(item) not in own
                )

            self._known.update(item for item in walk(roots, is_boundary) if type(item) is Cache)

    def clear(self, search: _Search) -> None:
        for cache in list(self._known):
            if cache.cache_info().currsize:
                held = [item for item in gc.get_referents(cache) if item is not cache.__wrapped__]
                if search.refers(held):
                    cache.cache_clear()


def _loggers() -> list[logging.Logger]:
    named = logging.Logger.manager.loggerDict.values()
    return [logging.root, *(each for each in named if isinstance(each, logging.Logger))]


def _clear_logging(search: _Search) -> None:
    for logger in _loggers():
        for handler in list(logger.handlers):
            if search.refers([handler]):
                logger.removeHandler(handler)
        for entry in list(logger.filters):
            if search.refers([entry]):
                logger.removeFilter(entry)


def _clear_warnings(search: _Search) -> None:
    warnings.filters[:] = [  # type: ignore[index]
        entry for entry in warnings.filters if not search.refers([entry])
    ]


_caches = _Caches()


def drop_references(leftovers: Iterable[Leftover], *, force: bool) -> None:
    """Removes references to leftovers from caches, loggers and warning filters.

    Args:
        leftovers: the objects that should have been freed.
        force: search for new caches even if no module has been added.
    """
    search = _Search(leftovers)
    _caches.find(force=force)
    _caches.clear(search)
    _clear_logging(search)
    _clear_warnings(search)
