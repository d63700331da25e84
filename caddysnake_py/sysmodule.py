"""``sys``, whose search paths and arguments are those of the current view."""

from __future__ import annotations

import sys
from types import ModuleType
from typing import Any

import _caddysnake

_PER_VIEW = ("path", "meta_path", "prefix", "exec_prefix", "executable", "argv")
_SINCE_3_15 = ("lazy_modules",)


class _Meta(type):
    """importlib makes every new module with ``type(sys)(name)``, and people ask
    ``isinstance(x, type(sys))`` to learn whether x is a module."""

    def __call__(cls, *args: Any, **kwargs: Any) -> Any:
        return ModuleType(*args, **kwargs)

    def __instancecheck__(cls, instance: object) -> bool:
        return isinstance(instance, ModuleType)

    def __subclasscheck__(cls, subclass: type) -> bool:
        return issubclass(subclass, ModuleType)


def _per_view(name: str) -> property:
    of_process = sys.__dict__

    def get(module: ModuleType) -> Any:
        view = _caddysnake.current_view()
        return of_process[name] if view is None else getattr(view, name)

    def set_(module: ModuleType, value: Any) -> None:
        view = _caddysnake.current_view()
        if view is None:
            of_process[name] = value
        else:
            setattr(view, name, value)

    return property(get, set_)


def install() -> None:
    """Replaces the class of ``sys``; the object stays the one that everybody has."""
    namespace: dict[str, Any] = {
        name: _per_view(name) for name in (*_PER_VIEW, *_SINCE_3_15) if name in sys.__dict__
    }
    sys.__class__ = _Meta("module", (_caddysnake.PropertyModule,), namespace)  # type: ignore[assignment]
