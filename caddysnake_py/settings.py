"""Per-app settings of the standard library: values that Python keeps once per process."""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType
from typing import Any

import _caddysnake

from caddysnake_py.layers import AppView

_MISSING = object()


def current() -> dict[str, Any] | None:
    """Returns the settings of the current app; None outside of apps."""
    view = _caddysnake.current_view()
    return view.settings if isinstance(view, AppView) else None


def get(key: str, default: Any = None) -> Any:
    """Returns a setting of the current app; ``default`` if it is not set, or outside of apps."""
    own = current()
    return default if own is None else own.get(key, default)


def own_attribute(module: ModuleType, name: str, default: Callable[[], Any]) -> None:
    """Makes an attribute of a module per-app, under the key ``module.name``.

    The module's own functions, and C code, read the module's dict, not this property: they need a
    value there that looks the setting up.

    Args:
        module: the module.
        name: the attribute.
        default: returns the value for an app that has not set the attribute.
    """
    if type(module) is ModuleType:
        module.__class__ = type("module", (_caddysnake.PropertyModule,), {})
    of_process = module.__dict__
    key = f"{module.__name__}.{name}"

    def read(_: object) -> Any:
        own = current()
        if own is None:
            return of_process[name]
        value = own.get(key, _MISSING)
        return default() if value is _MISSING else value

    def write(_: object, value: Any) -> None:
        own = current()
        if own is None:
            of_process[name] = value
        elif value is of_process[name] or value is default():
            own.pop(key, None)
        else:
            own[key] = value

    def delete(_: object) -> None:
        own = current()
        if own is not None:
            own.pop(key, None)

    setattr(type(module), name, property(read, write, delete))


def function_for_apps(module: Any, name: str, replacement: Callable[..., Any]) -> None:
    """Replaces a function of a module for calls from apps. ``replacement`` gets the original as its
    first argument."""
    original = getattr(module, name)

    def function(*args: Any, **kwargs: Any) -> Any:
        if isinstance(_caddysnake.current_view(), AppView):
            return replacement(original, *args, **kwargs)
        return original(*args, **kwargs)

    function.__name__ = function.__qualname__ = name
    function.__module__ = module.__name__
    function.__doc__ = original.__doc__
    setattr(module, name, function)
