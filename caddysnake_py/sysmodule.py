"""Per-view attributes of ``sys``, such as ``sys.path`` and ``sys.argv``."""

from __future__ import annotations

import sys
from collections.abc import Callable
from types import ModuleType
from typing import Any

import _caddysnake

from caddysnake_py import patches
from caddysnake_py.layers import AppView

_PER_VIEW = ("path", "meta_path", "prefix", "exec_prefix", "executable", "argv")
_SINCE_3_15 = ("lazy_modules",)


class _Meta(type):
    """Makes ``type(sys)`` behave like ``ModuleType``: importlib creates modules with
    ``type(sys)(name)``, and libraries test for modules with ``isinstance(x, type(sys))``."""

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


class _Place:
    """Attributes of ``sys`` that the imports of all apps need and that no app may remove."""

    def __init__(self) -> None:
        names = ("modules", "path_hooks", "path_importer_cache", "flags")
        self._values = {name: vars(sys)[name] for name in names}
        self._hooks = tuple(sys.path_hooks)

    def check(self, author: Callable[[Any], AppView | None]) -> None:
        """Restores replaced attributes and missing path hooks."""
        for name, value in self._values.items():
            if vars(sys).get(name) is not value:
                vars(sys)[name] = value
        missing = [hook for hook in self._hooks if hook not in sys.path_hooks]
        if missing:
            sys.path_hooks.extend(missing)
            for path, finder in [*sys.path_importer_cache.items()]:
                if finder is None:  # cached while the hook was missing
                    sys.path_importer_cache.pop(path, None)

    def forget(self, app: AppView) -> None:
        """Does nothing: there are no per-app values here."""


def install() -> None:
    """Replaces the class of ``sys``; the module object stays the same."""
    namespace: dict[str, Any] = {
        name: _per_view(name) for name in (*_PER_VIEW, *_SINCE_3_15) if name in sys.__dict__
    }
    sys.__class__ = _Meta("module", (_caddysnake.PropertyModule,), namespace)  # type: ignore[assignment]


def watch() -> None:
    """Adds the attributes that imports need to the periodic checks of `patches`."""
    patches.watch(_Place())
