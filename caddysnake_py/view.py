"""Views: what an app, and the packages that apps share, find when they import.

::

    App ──► Layer (venv) ──► Layer (host) ──► the base: the real ``sys.modules``
             shared packages                   the standard library, and this package

A lookup goes outwards until some view has the module. Who owns a module is decided when it is
loaded (`owner_of`), and its body runs under its owner's view: what is shared never sees, and so
never binds, what belongs to one app. `imports.py` asks from inside importlib.
"""

from __future__ import annotations

import importlib.util
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.machinery import ModuleSpec, all_suffixes
from types import ModuleType
from typing import Any

import _caddysnake

from caddysnake_py import cpython

View = _caddysnake.View
Load = Callable[[ModuleSpec], ModuleType]


class PrivateNeeded(BaseException):
    """A shared package imports one that each app has for itself, so it can't be shared.

    Not an ``Exception``: it must pass through the package's ``except ImportError``.

    Attributes:
        name: the module that is needed.
        packages: top-level names of all whose import depends on it.
    """

    def __init__(self, name: str, packages: frozenset[str]) -> None:
        super().__init__(f"{', '.join(sorted(packages))} imports {name}")
        self.name = name
        self.packages = packages


_SUFFIXES = frozenset(all_suffixes())


def as_importlib(function: Callable[..., Any]) -> None:
    """Makes a function a part of importlib for those who shorten tracebacks: Python leaves the
    frames of its import system out, and ours are among them."""
    function.__code__ = function.__code__.replace(co_filename=cpython.importlib_file)


@contextmanager
def use(view: View | None) -> Iterator[None]:
    """The thread looks through ``view`` (None: the base) for the length of the block."""
    before = _caddysnake.switch(view)
    try:
        yield
    finally:
        _caddysnake.switch(before)


def top(module: str) -> str:
    """The top-level name of a module."""
    return module.partition(".")[0]


class Base:
    """The interpreter as it was before any app: set by `set_up`.

    Attributes:
        names: top-level names of the modules that the server itself has imported. No file of an
            app hides these from it, as under any server that is written in Python.
        path, meta_path: what finds the standard library and nothing else.
        python_path: the directories of ``PYTHONPATH``, which come before it.
    """

    names: frozenset[str] = frozenset()
    path: tuple[str, ...] = ()
    python_path: tuple[str, ...] = ()
    meta_path: tuple[Any, ...] = ()


def _is_namespace(module: ModuleType) -> bool:
    spec = getattr(module, "__spec__", None)
    return spec is not None and spec.origin is None and hasattr(module, "__path__")


def _source(spec: ModuleSpec) -> object:
    """What a module is made of. The directories of a namespace package depend on the view that
    looks at them."""
    return list(spec.submodule_search_locations or ()) if spec.origin is None else spec.origin


def source_found_by(view: View | None, name: str) -> object:
    """What ``view`` would make a module of that name of; None if it finds none."""
    with use(view):
        try:
            spec = importlib.util.find_spec(name)
            return None if spec is None else _source(spec)
        except (ImportError, AttributeError, ValueError, PrivateNeeded):
            return None


def _outer(view: View) -> Iterator[View | None]:
    """The views behind one, the base first."""
    if view.outer is not None:
        yield from _outer(view.outer)
        yield view.outer
    else:
        yield None


def was_deleted(view: View, name: str) -> bool:
    """Whether ``view`` has deleted a shared module from its ``sys.modules``. When it imports the
    module again, it wants a fresh one."""
    return view.modules.get(name) is type(sys.modules)  # type: ignore[comparison-overlap]


def owner_of(view: View, spec: ModuleSpec) -> View | None:
    """Returns the view that a module found by ``view`` belongs to: the outermost that finds the
    same file, and for a submodule that of its package."""
    parent = spec.name.rpartition(".")[0]
    if parent and not _is_namespace(sys.modules[parent]):
        return _caddysnake.owner(parent)
    source = _source(spec)
    for outer in _outer(view):
        if source_found_by(outer, spec.name) == source:
            return outer
    return view


def importable_names(directory: str) -> set[str]:
    """Top-level names that a directory offers to ``import``."""
    names: set[str] = set()
    try:
        with os.scandir(directory) as entries:
            for entry in entries:
                name, dot, _ = entry.name.partition(".")
                if not name.isidentifier() or name == "__pycache__":
                    continue
                if dot:
                    if entry.name[len(name) :] in _SUFFIXES:
                        names.add(name)
                elif entry.is_dir() and (
                    # One without __init__ never wins over the standard library.
                    name not in sys.stdlib_module_names
                    or any(
                        os.path.exists(os.path.join(entry.path, "__init__" + suffix))
                        for suffix in _SUFFIXES
                    )
                ):
                    names.add(name)
    except OSError:
        pass  # no directory: a zip file, or not there
    return names


def import_from(owner: View | None, view: View, name: str) -> ModuleType:
    """Imports a module of ``owner`` for ``view``."""
    with use(owner):
        module: ModuleType = cpython.gcd_import(name)
    if view.claims and top(name) in view.claims:
        view.modules[name] = module  # it would not be found there otherwise
    return module


as_importlib(import_from)
