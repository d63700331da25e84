"""``sys``, whose search paths and arguments are those of the current view."""

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


class _Place:
    """What imports of all apps need, and no app may take away."""

    def __init__(self) -> None:
        names = ("modules", "path_hooks", "path_importer_cache", "flags")
        self._values = {name: vars(sys)[name] for name in names}
        self._hooks = tuple(sys.path_hooks)

    def check(self, author: Callable[[Any], AppView | None]) -> None:
        """Puts back what is missing, whoever has removed it."""
        for name, value in self._values.items():
            if vars(sys).get(name) is not value:
                vars(sys)[name] = value
        missing = [hook for hook in self._hooks if hook not in sys.path_hooks]
        if missing:
            sys.path_hooks.extend(missing)
            for path, finder in [*sys.path_importer_cache.items()]:
                if finder is None:  # looked for when there was no hook
                    sys.path_importer_cache.pop(path, None)

    def forget(self, app: AppView) -> None:
        """Nothing: nobody has anything of their own here."""


def install() -> None:
    """Replaces the class of ``sys``; the object stays the one that everybody has."""
    namespace: dict[str, Any] = {
        name: _per_view(name) for name in (*_PER_VIEW, *_SINCE_3_15) if name in sys.__dict__
    }
    sys.__class__ = _Meta("module", (_caddysnake.PropertyModule,), namespace)  # type: ignore[assignment]


def watch() -> None:
    """Has what imports need put back from now on."""
    patches.watch(_Place())
