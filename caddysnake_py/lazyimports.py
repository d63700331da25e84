"""Lazy imports of CPython 3.15 (PEP 810): what is found when a name is used at last, whoever uses
it first, is what the module with the import statement sees.

CPython keeps the builtins of the statement in the placeholder, and calls their ``__import__``
later.
So each statement gets builtins of its own, whose ``__import__`` looks through the view under which
the statement has run.

CPython also notes down what such statements would have made an attribute of a package, by the name
of the package alone. That is kept for each view here.
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

# Names of submodules by the package's name; True for those that an import statement has named as a
# module, False for what may be any attribute.
Children = dict[str, dict[str, bool]]

_PLACEHOLDER: Any = getattr(types, "LazyImportType", None)
_PLACES = ("__name__", "__package__", "__spec__", "__path__")
_children_of_base: Children = {}


def _attribute(module: Any, name: str) -> object:
    """What ``from module import name`` binds, as the current view sees it."""
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
    """The ``__import__`` of a lazy import statement.

    Args:
        view: under which the statement has run; None: the base.
        holder: the module with the statement.
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
            # CPython would look into sys.modules for those that are no attributes, after this.
            return SimpleNamespace(**{each: _attribute(found, each) for each in fromlist})
        return found


def _scope(view: View | None, place: dict[str, Any], **more: Any) -> dict[str, Any]:
    """Globals for the original ``__lazy_import__``."""
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
    """CPython's own parts, and what takes their place.

    Args:
        original: ``builtins.__lazy_import__``.
        pending: CPython's notes on submodules: package -> name -> placeholder or None.
    """

    def __init__(self, original: Callable[..., Any], pending: dict[str, Any]) -> None:
        self._set_attributes = cpython.set_lazy_attributes
        names: set[str] = sys.lazy_modules  # type: ignore[attr-defined]
        self.statement = _caddysnake.lazy_importer(
            original, pending, names, _before, self.take_over
        )

        def ignore(pending: object, names: object) -> None:
            pass

        def as_it_is(name: str, place: dict[str, Any], level: int) -> dict[str, Any]:
            return place

        self._plain = _caddysnake.lazy_importer(original, pending, names, as_it_is, ignore)

    def placeholder(self, view: View | None, holder: str, statement: str) -> Any:
        """What ``it`` is after a statement such as ``lazy import x as it`` in a module."""
        scope = _scope(view, {"__name__": holder}, __lazy_import__=self._plain)
        exec(statement, scope)
        return scope["it"]

    def take_over(self, pending: dict[str, dict[str, Any]], names: set[str]) -> None:
        """Takes over what CPython has noted down about one statement, or several."""
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
        """Stands in for ``_imp._set_lazy_attributes``, which importlib calls after each load."""
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
        """Makes a submodule, which is not loaded yet, an attribute of its package."""
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
        """Makes placeholders anew that a module has got before all this."""
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
    """What imports the same as ``it``; None for what is rare."""
    found = gc.get_referents(placeholder)
    words = [each for each in found if type(each) is str]
    behind = [each for each in found if type(each) is _PLACEHOLDER]
    if len(words) != 1:
        return None
    if behind:  # of the module that the name is imported from
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
    """CPython's notes, which it shows nobody."""
    package, child = "caddysnake_probe", "child"
    scope = {"__builtins__": {"__lazy_import__": original}, "__name__": __name__}
    exec(f"lazy import {package}.{child}", scope)
    for item in gc.get_objects():
        if type(item) is dict and type(item.get(package)) is dict and child in item[package]:
            del item[package]
            return item
    text = (
        "Python {}.{}.{} keeps what is imported lazily in another form than expected: a submodule "
        "of one application may be found in a package of the same name of another"
    )
    logs.emit(logging.WARNING, "caddysnake", text.format(*sys.version_info))
    return {}


def _of_the_server(name: str) -> Callable[..., Any]:
    """A function of ``sys`` that changes imports of all applications; one of them may not."""
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
    """From now on lazy imports are those of the view with the statement."""
    original = cpython.lazy_import
    if original is None:
        return
    pending = _find_pending(original)
    before = dict(pending)
    pending.clear()
    lazy = LazyImports(original, pending)
    cpython.replace_lazy_import(lazy.statement)
    cpython.replace_set_lazy_attributes(lazy.set_attributes)
    sys.set_lazy_imports = _of_the_server("set_lazy_imports")  # type: ignore[attr-defined]
    sys.set_lazy_imports_filter = _of_the_server("set_lazy_imports_filter")  # type: ignore[attr-defined]
    lazy.take_over(before, set())
    owned: list[tuple[View | None, dict[str, ModuleType]]] = [(None, sys.modules)]
    owned += [(layer, layer.modules) for layer in every_layer()]
    for view, modules in owned:
        for module in list(modules.values()):
            if issubclass(type(module), ModuleType):
                lazy.renew(view, module)
