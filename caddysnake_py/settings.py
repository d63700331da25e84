"""Settings of the standard library: what Python keeps for the process, each app has for itself."""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType
from typing import Any

import _caddysnake

from caddysnake_py.layers import AppView

_MISSING = object()


def current() -> dict[str, Any] | None:
    """The settings of the current app; None where there is no app."""
    view = _caddysnake.current_view()
    return view.settings if isinstance(view, AppView) else None


def get(key: str, default: Any = None) -> Any:
    """A setting of the current app."""
    own = current()
    return default if own is None else own.get(key, default)


def own_attribute(module: ModuleType, name: str, default: Callable[[], Any]) -> None:
    """Gives each app an attribute of a module for itself, under the key ``module.name``.

    The module's own functions, and C code, read the module's dict: there must be something that
    asks for the setting.

    Args:
        default: makes what an app finds that has not set the attribute.
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


def function_for_apps(module: Any, name: str, instead: Callable[..., Any]) -> None:
    """Has a function of a module replaced where an app calls it. ``instead`` gets the original
    first."""
    original = getattr(module, name)

    def function(*args: Any, **kwargs: Any) -> Any:
        if isinstance(_caddysnake.current_view(), AppView):
            return instead(original, *args, **kwargs)
        return original(*args, **kwargs)

    function.__name__ = function.__qualname__ = name
    function.__module__ = module.__name__
    function.__doc__ = original.__doc__
    setattr(module, name, function)
