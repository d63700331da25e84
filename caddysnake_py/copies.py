"""Reduces the memory of private packages: shares immutable parts between the copies of apps, such
as module names and paths, and the methods of Django's lazy objects."""

from __future__ import annotations

import sys
from collections.abc import Callable
from importlib.machinery import ModuleSpec, SourceFileLoader
from types import FunctionType, ModuleType
from typing import Any


def share_names(spec: ModuleSpec) -> None:
    """Interns the strings in the spec of a private package's module, so that all applications share
    them."""
    loader = spec.loader
    if type(loader) is not SourceFileLoader:
        return
    loader.name = spec.name = sys.intern(spec.name)
    if spec.origin is not None:
        loader.path = spec.origin = sys.intern(spec.origin)
    if spec.cached is not None:
        spec.cached = sys.intern(spec.cached)
    if spec.submodule_search_locations is not None:
        spec.submodule_search_locations[:] = map(sys.intern, spec.submodule_search_locations)


def _method(name: str) -> Callable[..., Any]:
    def __wrapper__(self: Any, *args: Any, **kwargs: Any) -> Any:
        # The mangled name of the method __cast of Django's class __proxy__.
        return getattr(self._proxy____cast(), name)(*args, **kwargs)

    return __wrapper__


def share_lazy_methods(functional: ModuleType) -> None:
    """Shares the delegating methods of lazy objects between all proxy classes of an application.

    For each function passed to it, `lazy` creates a class, with a function for each of the 50
    methods of ``str``. These functions differ only in the name that they delegate to; they take a
    tenth of a site's memory. Written for Django 4.2 to 6.0; classes of another form stay unchanged.

    Args:
        functional: the application's ``django.utils.functional``.
    """
    promise = getattr(functional, "Promise", None)
    if type(promise) is not type:
        return
    shared: dict[str, Callable[..., Any]] = {}
    proxies: list[type] = promise.__subclasses__()
    for proxy in proxies:
        if "_proxy____cast" not in proxy.__dict__:
            continue
        for name, value in list(proxy.__dict__.items()):
            if (
                type(value) is FunctionType
                and value.__code__.co_name == "__wrapper__"
                and value.__globals__ is functional.__dict__
            ):
                if name not in shared:
                    shared[name] = _method(name)
                setattr(proxy, name, shared[name])
