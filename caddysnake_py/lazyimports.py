"""Lazy imports of CPython 3.15 (PEP 810) resolve in the view of the module with the import
statement, even if another app uses the name first.

CPython stores the builtins of the statement in the placeholder, and calls their ``__import__`` when
the name is used. So each statement gets its own builtins, whose ``__import__`` uses the view under
which the statement has run.

CPython also records submodules that such statements would have set as attributes of a package. It
records them by the name of the package only; this module keeps them per view.
"""

from __future__ import annotations

import builtins
import functools
import gc
import keyword
import logging
import sys
import types
from collections.abc import Callable, Iterator
from types import ModuleType, SimpleNamespace
from typing import Any

import _caddysnake

from caddysnake_py import cpython, logs
from caddysnake_py.belongings import namespace_of
from caddysnake_py.layers import AppView, Layer, every_layer
from caddysnake_py.view import View, as_importlib, source_found_by, use

# Package name -> submodule name -> True if an import statement named a module, False if the name
# may be any attribute (``from package import name``).
Children = dict[str, dict[str, bool]]

_PLACEHOLDER: Any = getattr(types, "LazyImportType", None)
_PLACES = ("__name__", "__package__", "__spec__", "__path__")
_children_of_base: Children = {}


def _attribute(module: Any, name: str) -> object:
    """Returns the object that ``from module import name`` binds under the current view."""
    try:
        return getattr(module, name)
    except AttributeError:
        full_name = f"{getattr(module, '__name__', '')}.{name}"
        if full_name in sys.modules:
            return sys.modules[full_name]
    package, file = getattr(module, "__name__", None), getattr(module, "__file__", None)
    text = f"cannot import name {name!r} from {package!r} ({file or 'unknown location'})"
    raise ImportError(text, name=package, path=file)


def _import_for(
    view: View | None,
    holder: str,
    name: str,
    globals: Any = None,
    locals: Any = None,
    fromlist: Any = None,
    level: int = 0,
) -> Any:
    """Implements ``__import__`` for a lazy import statement; the other arguments are its.

    Args:
        view: the view under which the statement has run; None: the base.
        holder: the name of the module with the statement.
    """
    with use(view):

        def load() -> Any:
            return builtins.__import__(name, globals, locals, fromlist or (), level)

        found = view.import_later(holder, name, load) if isinstance(view, Layer) else load()
        if isinstance(view, (AppView, Layer)):
            view.lazy_modules.difference_update(
                {name, *(f"{name}.{each}" for each in fromlist or ())}
            )
        if fromlist:
            # CPython would look missing attributes up in sys.modules later, outside of this view.
            return SimpleNamespace(**{each: _attribute(found, each) for each in fromlist})
        return found


def _scope(view: View | None, place: dict[str, Any], **more: Any) -> dict[str, Any]:
    """Returns globals for the original ``__lazy_import__``."""
    scope = {name: place[name] for name in _PLACES if name in place}
    holder = str(place.get("__name__"))
    scope["__builtins__"] = {
        "__import__": functools.partial(_import_for, view, holder),
        **more,
    }
    return scope


def _before(name: str, place: dict[str, Any], level: int) -> dict[str, Any]:
    view = _caddysnake.current_view()
    if isinstance(view, Layer) and level == 0:
        view.refuse_private(name)
    return _scope(view, place)


def _is_importable(name: str) -> bool:
    return all(part.isidentifier() and not keyword.iskeyword(part) for part in name.split("."))


class LazyImports:
    """The replacements of CPython's functions for lazy imports.

    Args:
        original: ``builtins.__lazy_import__``.
        pending: CPython's record of submodules: package -> name -> placeholder or None.
    """

    def __init__(self, original: Callable[..., Any], pending: dict[str, Any]) -> None:
        self._set_attributes = cpython.set_lazy_attributes
        names: set[str] = sys.lazy_modules  # type: ignore[attr-defined]
        self.statement = _caddysnake.lazy_importer(
            original, pending, names, _before, self.take_over
        )

        def ignore(pending: object, names: object) -> None:
            pass

        def unchanged(name: str, place: dict[str, Any], level: int) -> dict[str, Any]:
            return place

        self._plain = _caddysnake.lazy_importer(original, pending, names, unchanged, ignore)

    def placeholder(self, view: View | None, holder: str, statement: str) -> Any:
        """Executes a statement such as ``lazy import x as it`` in the name of a module, and returns
        the placeholder ``it``."""
        scope = _scope(view, {"__name__": holder}, __lazy_import__=self._plain)
        exec(statement, scope)
        return scope["it"]

    def take_over(self, pending: dict[str, dict[str, Any]], names: set[str]) -> None:
        """Moves CPython's records of one or more statements to the current view."""
        view = _caddysnake.current_view()
        if isinstance(view, (AppView, Layer)):
            view.lazy_modules |= names
        for package, children in pending.items():
            for child, placeholder in children.items():
                is_module = placeholder is not None
                module = sys.modules.get(package)
                if module is None:
                    known = _children(view).setdefault(package, {})
                    known[child] = is_module or known.get(child, False)
                else:
                    self._offer(module, package, child, is_module)

    def set_attributes(self, module: Any, name: str) -> None:
        """Replaces ``_imp._set_lazy_attributes``, which importlib calls after each load."""
        self._set_attributes(module, name)
        current = _caddysnake.current_view()
        for view in (current,) if isinstance(current, AppView) else _all_views():
            children = _children(view).get(name)
            if children:
                with use(view):
                    if sys.modules.get(name) is module:
                        for child, is_module in list(children.items()):
                            self._offer(module, name, child, is_module)

    def _offer(self, module: Any, package: str, child: str, is_module: bool) -> None:
        """Sets a placeholder for a submodule that is not loaded yet as an attribute of its
        package."""
        full_name = f"{package}.{child}"
        if not issubclass(type(module), ModuleType) or not _is_importable(full_name):
            return
        content = namespace_of(module)
        if child in content:
            return
        owner = _caddysnake.owner(package)
        if not is_module:
            if "__path__" not in content or "__getattr__" in content:
                return
            if source_found_by(owner, full_name) is None:
                return
        content[child] = self.placeholder(owner, package, f"lazy import {full_name} as it")

    def renew(self, view: View | None, module: ModuleType) -> None:
        """Replaces the placeholders that a module got before `install` was called."""
        content = namespace_of(module)
        for name, value in list(content.items()):
            if type(value) is _PLACEHOLDER:
                statement = _statement(value)
                if statement is not None:
                    content[name] = self.placeholder(view, module.__name__, statement)
                else:
                    with use(view):
                        getattr(module, name, None)


def _statement(placeholder: object) -> str | None:
    """Returns a statement that binds an equivalent placeholder to ``it``; None for rare forms."""
    found = gc.get_referents(placeholder)
    words = [each for each in found if type(each) is str]
    behind = [each for each in found if type(each) is _PLACEHOLDER]
    if len(words) != 1:
        return None
    if behind:  # the placeholder of the module in a "from" import
        found = gc.get_referents(behind[0])
        modules = [each for each in found if type(each) is str]
        if modules == ["__future__"] or not any(type(each) is tuple for each in found):
            return None
        return f"lazy from {modules[0]} import {words[0]} as it"
    return f"lazy import {words[0]} as it" if "." not in words[0] else None


def _children(view: View | None) -> Children:
    return view.lazy_children if isinstance(view, (AppView, Layer)) else _children_of_base


def _all_views() -> Iterator[View | None]:
    yield None
    for layer in every_layer():
        yield layer
        yield from layer.apps


def _find_pending(original: Callable[..., Any]) -> dict[str, Any]:
    """Returns CPython's record of submodules, a dict that has no public name."""
    package, child = "caddysnake_probe", "child"
    scope = {"__builtins__": {"__lazy_import__": original}, "__name__": __name__}
    exec(f"lazy import {package}.{child}", scope)
    for item in gc.get_objects():
        if type(item) is dict and type(item.get(package)) is dict and child in item[package]:
            del item[package]
            return item
    text = (
        "Python {}.{}.{} records lazy imports in an unexpected form: a submodule of one "
        "application may be found in a package of the same name of another application"
    )
    logs.emit(logging.WARNING, "caddysnake", text.format(*sys.version_info))
    return {}


def _warning_in_apps(name: str) -> Callable[..., Any]:
    """Wraps a function of ``sys`` that changes imports of all applications: calls from an
    application only log a warning."""
    function: Callable[..., Any] = getattr(sys, name)

    @functools.wraps(function)
    def function_for_apps(*args: Any, **kwargs: Any) -> Any:
        if _caddysnake.current_view() is None:
            return function(*args, **kwargs)
        text = f"sys.{name}() does nothing inside Caddy, as it would change all applications"
        logs.emit(logging.WARNING, "caddysnake", text)
        return None

    return function_for_apps


for _function in (_attribute, _import_for):
    as_importlib(_function)


def install() -> None:
    """Makes lazy imports per-view; does nothing before Python 3.15."""
    original = cpython.lazy_import
    if original is None:
        return
    pending = _find_pending(original)
    before = dict(pending)
    pending.clear()
    lazy = LazyImports(original, pending)
    cpython.replace_lazy_import(lazy.statement)
    cpython.replace_set_lazy_attributes(lazy.set_attributes)
    sys.set_lazy_imports = _warning_in_apps("set_lazy_imports")  # type: ignore[attr-defined]
    sys.set_lazy_imports_filter = _warning_in_apps("set_lazy_imports_filter")  # type: ignore[attr-defined]
    lazy.take_over(before, set())
    owned: list[tuple[View | None, dict[str, ModuleType]]] = [(None, sys.modules)]
    owned += [(layer, layer.modules) for layer in every_layer()]
    for view, modules in owned:
        for module in list(modules.values()):
            if issubclass(type(module), ModuleType):
                lazy.renew(view, module)
