"""The core's owner hook: finds the app of a callback on a thread that C code has created.

Libraries for audio, messaging or cameras call an application back on their own threads, which were
not started through Python.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Mapping
from types import FrameType, ModuleType
from typing import Any

from caddysnake_py.belongings import namespace_of
from caddysnake_py.layers import AppView, every_layer
from caddysnake_py.view import Base

_PACKAGE = __name__.partition(".")[0] + "."


def _is_shared(file: str) -> bool:
    if file.startswith(Base.path):
        return True
    return any(file.startswith(layer.site_dirs) for layer in every_layer())


def _owner_of(namespace: Mapping[str, Any]) -> AppView | None:
    """Returns the app that has a module with these globals; None if there is none."""
    name, file = namespace.get("__name__"), namespace.get("__file__")
    if type(name) is not str or type(file) is not str or _is_shared(file):
        return None
    for layer in every_layer():
        for app in layer.apps:
            module = app.modules.get(name)
            if issubclass(type(module), ModuleType) and namespace_of(module) is namespace:
                return app
    return None


def find_owner() -> Any:
    """Returns the app that owns the outermost frame of an app on the current thread; None if no
    frame belongs to an app, and NotImplemented on a thread that Python has started."""
    frame: FrameType | None = sys._getframe()
    namespaces: list[Mapping[str, Any]] = []
    while frame is not None:
        namespaces.append(frame.f_globals)
        frame = frame.f_back
    outermost = namespaces[-1]
    name = outermost.get("__name__")
    if outermost is vars(threading) or (type(name) is str and name.startswith(_PACKAGE)):
        return NotImplemented  # most threads: a search would look into each application
    for namespace in reversed(namespaces):
        owner = _owner_of(namespace)
        if owner is not None:
            return owner
    return None
