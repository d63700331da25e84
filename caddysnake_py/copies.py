"""Makes copies of a package smaller, by what nobody changes and need not be there twice: the names
and paths of its modules, and the methods of Django's lazy objects."""

from __future__ import annotations

import sys
from collections.abc import Callable
from importlib.machinery import ModuleSpec, SourceFileLoader
from types import FunctionType, ModuleType
from typing import Any


def share_names(spec: ModuleSpec) -> None:
    """Gives what is found of a private package the same strings in all applications."""
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
        # What the private __cast of Django's class __proxy__ is called outside of it.
        return getattr(self._proxy____cast(), name)(*args, **kwargs)

    return __wrapper__


def share_lazy_methods(functional: ModuleType) -> None:
    """Has the lazy objects of one application share the methods that they only pass on.

    `lazy` makes a class for each function that it is given, and for each of the 50 methods of
    ``str`` a function, of which only the name that it passes on differs: a tenth of what a site
    takes. Other versions of Django than 4.2 to 6.0 may do it in another way, which is left alone.

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
