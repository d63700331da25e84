"""Monkey patches of the standard library: a patch by an app takes effect for that app only.

Assignments to a class cannot be intercepted, so the modules and classes that are commonly patched
are compared with their original state: while an app is loaded, after the load, and periodically. A
dispatcher takes the place of a changed function. It calls the replacement in the app that made it,
and the original in all others.

The replacements of a dispatcher never change: each patch creates a new dispatcher. So a replacement
that calls the function it found before, an older dispatcher, does not call itself.
"""

from __future__ import annotations

import dataclasses
import weakref
from collections.abc import Callable, Iterable, Mapping
from time import monotonic, sleep
from types import BuiltinFunctionType, FunctionType, MethodType, ModuleType
from typing import Any, Protocol

import _caddysnake

from caddysnake_py.belongings import namespace_of
from caddysnake_py.layers import AppView, every_layer

# Functions of these modules and methods of these classes are compared.
MODULES = (
    "asyncio",
    "builtins",
    "http.client",
    "importlib",
    "json",
    "logging",
    "os",
    "random",
    "shutil",
    "signal",
    "socket",
    "ssl",
    "subprocess",
    "sys",
    "tempfile",
    "threading",
    "time",
    "traceback",
    "urllib.request",
)
CLASSES = {
    "asyncio.base_events": ("BaseEventLoop",),
    "concurrent.futures._base": ("Executor", "Future"),
    "concurrent.futures.thread": ("ThreadPoolExecutor",),
    "http.client": ("HTTPConnection", "HTTPSConnection", "HTTPResponse"),
    "http.cookiejar": ("CookieJar",),
    "json.decoder": ("JSONDecoder",),
    "json.encoder": ("JSONEncoder",),
    "logging": ("Filterer", "Formatter", "Handler", "Logger", "LogRecord", "StreamHandler"),
    "multiprocessing.process": ("BaseProcess",),
    "queue": ("Queue",),
    "socket": ("socket",),
    "ssl": ("SSLContext", "SSLSocket"),
    "subprocess": ("Popen",),
    "threading": ("Thread", "Timer"),
    "urllib.request": ("OpenerDirector",),
}

_MISSING = object()
_FUNCTIONS = (FunctionType, BuiltinFunctionType, MethodType)
_METHODS = (*_FUNCTIONS, staticmethod, classmethod)
_INTERVAL = 0.01  # seconds between two comparisons while modules are imported
_CHECK_TIMEOUT = 1.0  # seconds to wait for a check that runs on another thread


@dataclasses.dataclass(slots=True)
class _Replacement:
    """The replacement of a function by an app; `value` is `_MISSING` once the app is unloaded."""

    app: weakref.ref[AppView]
    value: Any


def _chosen(original: Any, replacements: Iterable[_Replacement]) -> Any:
    view = _caddysnake.current_view()
    if view is not None:
        for each in replacements:
            if each.value is not _MISSING and each.app() is view:
                return each.value
    return original


def _describe(dispatcher: Any, original: Any) -> None:
    """Copies the names of the original to its dispatcher. Not ``functools.update_wrapper``, which
    calls builtins that an app may have replaced."""
    for name in ("__module__", "__name__", "__qualname__", "__doc__"):
        value = getattr(original, name, _MISSING)
        if value is not _MISSING:
            setattr(dispatcher, name, value)
    dispatcher.__wrapped__ = original


class _Method:
    """The dispatcher of a method."""

    def __init__(self, name: str, original: Any, replacements: tuple[_Replacement, ...]) -> None:
        self._name = name
        self._original = original
        self._replacements = replacements
        if original is not _MISSING:
            _describe(self, original)

    def _find(self) -> Any:
        found = _chosen(self._original, self._replacements)
        if found is _MISSING:
            raise AttributeError(self._name)
        return found

    def __get__(self, instance: object, owner: Any = None) -> Any:
        found = self._find()
        bind = getattr(type(found), "__get__", None)
        return found if bind is None else bind(found, instance, owner)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self._find()(*args, **kwargs)


def _function(name: str, original: Any, replacements: tuple[_Replacement, ...]) -> Any:
    """Creates the dispatcher of a module's function."""

    def function(*args: Any, **kwargs: Any) -> Any:
        return _chosen(original, replacements)(*args, **kwargs)

    _describe(function, original)
    vars(function).update(getattr(original, "__dict__", {}))
    return function


class Place(Protocol):
    """An object that apps may change, and whose changes must not affect other apps."""

    def check(self, author: Callable[[Any], AppView | None]) -> None:
        """Detects changes. ``author`` returns the app that made a replacement; None if unknown."""

    def forget(self, app: AppView) -> None:
        """Drops the changes by an app."""


class _Place:
    """A module or class whose functions are compared."""

    def __init__(self, owner: Any, kinds: tuple[type, ...], make: Callable[..., Any]) -> None:
        self._owner = owner
        self._kinds = kinds
        self._make = make
        self._takes_new = isinstance(owner, type)
        names = vars(owner)
        self._originals = {name: value for name, value in names.items() if type(value) in kinds}
        self._others = names.keys() - self._originals.keys()
        self._expected = dict(self._originals)
        self._replacements: dict[str, tuple[_Replacement, ...]] = {}

    def check(self, author: Callable[[Any], AppView | None]) -> None:
        """Detects replaced and deleted functions. ``author`` returns the app that replaced one."""
        names = vars(self._owner)
        for name, value in list(names.items()):
            expected = self._expected.get(name, _MISSING)
            if value is expected or name in self._others:
                continue
            if expected is _MISSING and not (self._takes_new and type(value) in self._kinds):
                self._others.add(name)  # a new name in a module, or not a function
            elif callable(value) or hasattr(type(value), "__get__"):
                app = author(value)
                if app is not None:
                    self._take(name, value, app)
            else:
                setattr(self._owner, name, expected)  # the new value is not callable
        for name in self._expected.keys() - names.keys():
            setattr(self._owner, name, self._expected[name])  # deleted

    def _take(self, name: str, value: Any, app: AppView) -> None:
        before = self._replacements.get(name, ())
        kept = [each for each in before if each.app() not in (None, app)]
        if value is not self._originals.get(name, _MISSING):
            kept.append(_Replacement(weakref.ref(app), value))
        self._put(name, tuple(kept))

    def _put(self, name: str, replacements: tuple[_Replacement, ...]) -> None:
        self._replacements[name] = replacements
        value = original = self._originals.get(name, _MISSING)
        if replacements:
            value = self._make(name, original, replacements)
        if value is _MISSING:
            self._expected.pop(name, None)
            delattr(self._owner, name)
        else:
            self._expected[name] = value
            setattr(self._owner, name, value)

    def forget(self, app: AppView) -> None:
        """Drops the replacements by an app. Replacements by other apps may still refer to the
        dispatchers, so the values are cleared there, too."""
        for name, before in list(self._replacements.items()):
            gone = [each for each in before if each.app() in (None, app)]
            for each in gone:
                each.value = _MISSING
            if gone:
                self._put(name, tuple(each for each in before if each not in gone))


class _Watch:
    """All places, and the time of the last check."""

    def __init__(self) -> None:
        self.places: list[Place] = []
        self.checked = 0.0
        self.checker: list[object] = []  # the first entry may check


_watch = _Watch()


def _namespace(value: Any) -> Mapping[str, Any] | None:
    """Returns the globals of the module that defines a replacement."""
    for _ in range(10):
        if type(value) is FunctionType:
            return value.__globals__
        for name in ("_self_wrapper", "__func__", "func", "fget", "__wrapped__"):
            inner = getattr(value, name, None)
            if inner is not None:
                value = inner
                break
        else:
            call = vars(type(value)).get("__call__")
            return call.__globals__ if type(call) is FunctionType else None
    return None


def _author(value: Any) -> AppView | None:
    """Returns the app whose module defines a replacement; None if a shared package defines it."""
    try:
        namespace = _namespace(value)
    except Exception:  # the replacement's attribute access may raise anything
        return None
    name = namespace.get("__name__") if namespace is not None else None
    if not isinstance(name, str):
        return None
    for layer in every_layer():
        for app in layer.apps:
            module = app.modules.get(name)
            if issubclass(type(module), ModuleType) and namespace_of(module) is namespace:
                return app
    return None


def check(app: AppView | None) -> bool:
    """Limits replacements to the apps that made them. Returns False if another thread is checking.

    Args:
        app: the author of replacements that shared packages define; if None, these stay in effect
            for all apps.
    """
    me = object()
    # Not a lock: a destructor may run meanwhile on this thread, and import a module.
    _watch.checker.append(me)
    try:
        if _watch.checker[0] is not me:
            return False
        for place in _watch.places:
            place.check(lambda value: _author(value) or app)
        _watch.checked = monotonic()
        return True
    finally:
        _watch.checker.remove(me)


def check_now(app: AppView) -> None:
    """Checks once for an app; waits up to a second while another thread is checking."""
    deadline = monotonic() + _CHECK_TIMEOUT
    while not check(app) and monotonic() < deadline:
        sleep(_INTERVAL)


def check_soon(app: AppView) -> None:
    """Checks, unless the last check was less than 10 ms ago."""
    if monotonic() >= _watch.checked + _INTERVAL:
        check(app)


def forget(app: AppView) -> None:
    """Drops all replacements by an app."""
    for place in _watch.places:
        place.forget(app)


def watch(place: Place) -> None:
    """Adds a place to the checks."""
    _watch.places.append(place)


def watch_module(module: Any) -> None:
    """Adds the functions of a module to the checks."""
    watch(_Place(module, _FUNCTIONS, _function))


def watch_classes(module: Any, names: Iterable[str]) -> None:
    """Adds the methods of a module's classes to the checks."""
    for name in names:
        watch(_Place(getattr(module, name), _METHODS, _Method))
