"""The objects of one app: its modules, its callable and event loop, and all objects reachable from
them without passing through shared modules and classes."""

from __future__ import annotations

import asyncio
import dataclasses
import functools
import gc
import sys
import weakref
from collections.abc import Callable, Iterator, Sequence
from types import FunctionType, ModuleType
from typing import Any

from caddysnake_py.layers import AppView
from caddysnake_py.view import View

_MARKER = "__caddysnake_mark__"
Cache = type(functools.lru_cache(lambda: None))
_BATCH = 1000
# A longer walk would delay other threads; the rest is left to a full collection.
_MAX_OBJECTS = 250_000

# A second walk starts from these objects and from the app's functions.
_ANCHORS = (ModuleType, type, asyncio.AbstractEventLoop)

# Read attributes of classes without calling the metaclass, which may be code of the app.
_content_of: Any = vars(type)["__dict__"].__get__
_name_of: Any = vars(type)["__name__"].__get__
# The same for modules, which may have their own subclass of ModuleType.
namespace_of: Any = vars(ModuleType)["__dict__"].__get__


class Marker:
    """An object in a module's globals. A weak reference to it shows whether the globals still
    exist, as functions keep the globals alive without the module."""


@dataclasses.dataclass(slots=True, frozen=True)
class Leftover:
    """An object that should be freed with an app: the globals of a module, a class defined in the
    module, or the app's event loop.

    Attributes:
        module: the module's name.
        marker: a weak reference that is dead once the object is freed.
        addresses: the ``id()`` of the object; for a module, of the module and of its globals.
    """

    module: str
    marker: weakref.ref[object]
    addresses: tuple[int, ...]


def is_namespace(item: object) -> bool:
    """Returns whether an object looks like the globals of a module."""
    return type(item) is dict and "__spec__" in item and "__name__" in item


def _referents(items: Sequence[Any]) -> Iterator[Any]:
    """Yields the referents of objects; of a module only its globals. Extension modules may expose
    internal objects that must not be referenced, such as the free list of _asyncio in 3.12."""
    modules = [item for item in items if issubclass(type(item), ModuleType)]
    others = [item for item in items if not issubclass(type(item), ModuleType)]
    yield from map(namespace_of, modules)
    yield from gc.get_referents(*others)


def walk(found: list[Any], is_boundary: Callable[[Any], bool]) -> list[Any]:
    """Appends to a list all objects reachable from its items, without crossing boundaries, and
    returns the list. Other threads run meanwhile."""
    seen = set(map(id, found))
    done = 0
    while done < len(found) < _MAX_OBJECTS:
        batch = found[done : done + _BATCH]
        done += len(batch)
        for item in _referents(batch):
            if id(item) not in seen and gc.is_tracked(item):
                seen.add(id(item))
                if not is_boundary(item):
                    found.append(item)
    return found


class Belongings:
    """The modules of one app and the objects reachable from them.

    Attributes:
        leftovers: the objects that show whether the app has been freed.
    """

    def __init__(self, view: AppView) -> None:
        self._shared: list[Any] = [sys.modules, *(layer.modules for layer in view.layer.chain())]
        self._markers: weakref.WeakSet[Marker] = weakref.WeakSet()
        self._anchors: list[weakref.ref[Any]] = []
        self._view = weakref.ref(view)
        self._roots: list[Any] = [view.application, view.loop]
        self.leftovers: list[Leftover] = []
        if view.loop is not None:
            marker: weakref.ref[object] = weakref.ref(view.loop)
            self.leftovers.append(Leftover("its event loop", marker, (id(view.loop),)))
        for name, module in view.modules.items():
            # Not isinstance(): it reads __class__, which evaluates lazy objects.
            if not issubclass(type(module), ModuleType):
                continue
            if all(modules.get(name) is not module for modules in self._shared):
                self._roots.append(module)
                self.leftovers += self._leftovers(name, module)

    def _leftovers(self, name: str, module: ModuleType) -> Iterator[Leftover]:
        content = namespace_of(module)
        marker = Marker()
        self._markers.add(marker)
        yield Leftover(name, weakref.ref(marker), (id(module), id(content)))
        for value in content.values():
            if issubclass(type(value), type) and _content_of(value).get("__module__") == name:
                yield Leftover(name, weakref.ref(value), (id(value),))
        content[_MARKER] = marker

    @property
    def alive(self) -> list[Leftover]:
        return [each for each in self.leftovers if each.marker() is not None]

    def add(self, items: Sequence[object]) -> None:
        """Adds objects of the app that are not reachable from its modules."""
        self._roots += items

    def take(self) -> list[object]:
        """Clears the app's caches and returns the objects of the app that still exist. May be
        called again after other references have been dropped. The caller must not keep the list."""
        roots, self._roots = self._roots, []
        anchors, self._anchors = self._anchors, []
        roots += [item for item in (anchor() for anchor in anchors) if item is not None]
        found = walk(roots, self._is_boundary)
        self._anchors = [weakref.ref(item) for item in found if self._is_anchor(item)]
        for item in found:
            # A cached argument may have a weakref.finalize() whose callback refers to the cache.
            if type(item) is Cache and self._is_function(item.__wrapped__):
                item.cache_clear()
        return found

    def _is_boundary(self, item: Any) -> bool:
        kind = type(item)
        if kind is dict:
            return is_namespace(item) and item.get(_MARKER) not in self._markers
        if issubclass(kind, ModuleType):
            return namespace_of(item).get(_MARKER) not in self._markers
        if issubclass(kind, type):
            return self._is_shared(item)
        # The app's own view is no boundary: pending lazy imports refer to it.
        return issubclass(kind, View) and item is not self._view()

    def _is_shared(self, cls: type) -> bool:
        module = _content_of(cls).get("__module__")
        if type(module) is not str:
            return False
        found = (modules.get(module) for modules in self._shared)
        return any(
            issubclass(type(each), ModuleType) and namespace_of(each).get(_name_of(cls)) is cls
            for each in found
        )

    def _is_anchor(self, item: Any) -> bool:
        return self._is_function(item) or issubclass(type(item), _ANCHORS)

    def _is_function(self, item: Any) -> bool:
        return type(item) is FunctionType and item.__globals__.get(_MARKER) in self._markers
