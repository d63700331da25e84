"""From ``"package.module:attribute.path"`` to the app object."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any


class LoadError(Exception):
    """The app cannot be loaded for a reason that a traceback would not explain better."""


def load(spec: str) -> Callable[..., Any]:
    """Imports a module and returns the app in it.

    Args:
        spec: ``"pkg.module:attribute"``; the attribute may be dotted, and is called without
            arguments when it ends in ``()`` (an application factory).

    Raises:
        LoadError: the attribute is missing or not callable.
        Exception: whatever the app's module raises when it is imported.
    """
    module_name, _, path = spec.partition(":")
    is_factory = path.endswith("()")
    path = path.removesuffix("()")
    found: Any = importlib.import_module(module_name)
    for name in path.split("."):
        try:
            found = getattr(found, name)
        except AttributeError:
            where = getattr(found, "__file__", None) or repr(found)
            raise LoadError(f"{spec}: there is no {name!r} in {where}") from None
    if is_factory:
        found = found()
    if not callable(found):
        raise LoadError(f"{spec} is not an application: {type(found).__name__} is not callable")
    app: Callable[..., Any] = found
    return app
