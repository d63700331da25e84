"""Views: the modules that an app, or a package that apps share, finds by ``import``.

::

    App ──► Layer (venv) ──► Layer (host) ──► the base: the real ``sys.modules``
             shared packages                   the standard library, and this package

A lookup goes outwards until a view has the module. `owner_of` decides at load time which view owns
a module. The module's body runs under the view of its owner, so shared modules never find, and
never bind, modules of one app. `imports.py` connects views to importlib.
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
    """A shared package imports a private package, so the shared package must become private, too.

    Not an ``Exception``: the package's ``except ImportError`` must not catch it.

    Attributes:
        name: the module of the private package.
        packages: top-level names of all packages whose import depends on ``name``.
    """

    def __init__(self, name: str, packages: frozenset[str]) -> None:
        super().__init__(f"{', '.join(sorted(packages))} imports {name}")
        self.name = name
        self.packages = packages


_SUFFIXES = frozenset(all_suffixes())


def as_importlib(function: Callable[..., Any]) -> None:
    """Gives a function importlib's file name, so that Python removes its frames from tracebacks of
    failed imports, as it does with importlib's own."""
    function.__code__ = function.__code__.replace(co_filename=cpython.importlib_file)


@contextmanager
def use(view: View | None) -> Iterator[None]:
    """Makes ``view`` (None: the base) the current view of this thread within the block."""
    before = _caddysnake.switch(view)
    try:
        yield
    finally:
        _caddysnake.switch(before)


def top(module: str) -> str:
    """Returns the top-level name of a module."""
    return module.partition(".")[0]


class Base:
    """The interpreter's state before any app was loaded; see `installations.set_up`.

    Attributes:
        names: top-level names of the modules that the server has imported. Files of an app do not
            shadow these modules, as under any server that is written in Python.
        path, meta_path: entries that find the standard library only.
        python_path: the directories of ``PYTHONPATH``, which precede the standard library.
    """

    names: frozenset[str] = frozenset()
    path: tuple[str, ...] = ()
    python_path: tuple[str, ...] = ()
    meta_path: tuple[Any, ...] = ()


def _is_namespace(module: ModuleType) -> bool:
    spec = getattr(module, "__spec__", None)
    return spec is not None and spec.origin is None and hasattr(module, "__path__")


def _source(spec: ModuleSpec) -> object:
    """Returns what identifies the source of a module: its file, or the directories of a namespace
    package, which depend on the view."""
    return list(spec.submodule_search_locations or ()) if spec.origin is None else spec.origin


def source_found_by(view: View | None, name: str) -> object:
    """Returns the `_source` of the module that ``view`` finds by that name, or None."""
    with use(view):
        try:
            spec = importlib.util.find_spec(name)
            return None if spec is None else _source(spec)
        except (ImportError, AttributeError, ValueError, PrivateNeeded):
            return None


def _outer(view: View) -> Iterator[View | None]:
    """Yields the outer views of a view, the base first."""
    if view.outer is not None:
        yield from _outer(view.outer)
        yield view.outer
    else:
        yield None


def was_deleted(view: View, name: str) -> bool:
    """Returns whether ``view`` has deleted a shared module from its ``sys.modules``. The next
    import of the name then creates a new module."""
    return view.modules.get(name) is type(sys.modules)  # type: ignore[comparison-overlap]


def owner_of(view: View, spec: ModuleSpec) -> View | None:
    """Returns the view that owns a module found by ``view``: the outermost view that finds the same
    source. A submodule has the owner of its package."""
    parent = spec.name.rpartition(".")[0]
    if parent and not _is_namespace(sys.modules[parent]):
        return _caddysnake.owner(parent)
    source = _source(spec)
    for outer in _outer(view):
        if source_found_by(outer, spec.name) == source:
            return outer
    return view


def importable_names(directory: str) -> set[str]:
    """Returns the top-level names of the modules in a directory."""
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
                    # A namespace package never takes precedence over the standard library.
                    name not in sys.stdlib_module_names
                    or any(
                        os.path.exists(os.path.join(entry.path, "__init__" + suffix))
                        for suffix in _SUFFIXES
                    )
                ):
                    names.add(name)
    except OSError:
        pass  # a zip file, or missing
    return names


def import_from(owner: View | None, view: View, name: str) -> ModuleType:
    """Imports a module of ``owner`` for ``view``."""
    with use(owner):
        module: ModuleType = cpython.gcd_import(name)
    if view.claims and top(name) in view.claims:
        view.modules[name] = module  # lookups of a claimed name do not go outwards
    return module


as_importlib(import_from)
