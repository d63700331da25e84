"""From ``"package.module:attribute.path"`` to the app object."""

from __future__ import annotations

import importlib
import importlib.util
import os
import sys
from collections.abc import Callable
from types import ModuleType
from typing import Any


class LoadError(Exception):
    """The app cannot be loaded for a reason that a traceback would not explain better."""


def _import(name: str, working_dir: str) -> ModuleType:
    module = importlib.import_module(name)
    # All apps still share sys.modules: say so instead of serving another app's code.
    mine = os.path.join(os.path.realpath(working_dir), *name.split("."))
    for candidate in (mine + ".py", os.path.join(mine, "__init__.py")):
        loaded = getattr(module, "__file__", None)
        if loaded and os.path.exists(candidate) and not os.path.samefile(candidate, loaded):
            raise LoadError(
                f"the module {name!r} of {working_dir} cannot be loaded, because {loaded} was "
                f"loaded under the same name; give it another name"
            )
    return module


def load(spec: str, working_dir: str) -> Callable[..., Any]:
    """Imports a module and returns the app in it.

    Args:
        spec: ``"pkg.module:attribute"``; the attribute may be dotted, and is called without
            arguments when it ends in ``()`` (an application factory).
        working_dir: where the app's modules are.

    Raises:
        LoadError: the attribute is missing or not callable.
        Exception: whatever the app's module raises when it is imported.
    """
    module_name, _, path = spec.partition(":")
    is_factory = path.endswith("()")
    path = path.removesuffix("()")
    found: Any = _import(module_name, working_dir)
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


def forget(working_dir: str, before: set[str]) -> None:
    """Removes modules of ``working_dir`` that a failed load has left in ``sys.modules``.

    Args:
        working_dir: the app's directory.
        before: the names that were loaded before.
    """
    root = os.path.join(os.path.realpath(working_dir), "")
    for name in set(sys.modules) - before:
        file = getattr(sys.modules.get(name), "__file__", None)
        if file and os.path.realpath(file).startswith(root):
            sys.modules.pop(name, None)
