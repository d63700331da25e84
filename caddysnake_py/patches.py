"""Functions of the standard library that an app has replaced: the replacement is that app's alone.

Classes can't tell when someone assigns to them, so those that people patch are compared with what
they were: while an app is loaded, after that, and now and then. In the place of what has changed
comes a dispatcher, which knows the replacement of each app and has the original for all others.

A dispatcher never changes what it answers for an app: with each replacement comes a new one. So a
replacement that has kept the old dispatcher as its original does not call itself.
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

# What is compared: functions of these modules, and methods of these classes.
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
_PATIENCE = 1.0  # seconds


@dataclasses.dataclass(slots=True)
class _Replacement:
    """What an app has put in the place of a function. `value` is missing once the app has gone."""

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
    """Gives a dispatcher the names of its original. Without ``functools``, which calls builtins
    that an app may have replaced."""
    for name in ("__module__", "__name__", "__qualname__", "__doc__"):
        value = getattr(original, name, _MISSING)
        if value is not _MISSING:
            setattr(dispatcher, name, value)
    dispatcher.__wrapped__ = original


class _Method:
    """Stands for a method of a class."""

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
    """Stands for a function of a module."""

    def function(*args: Any, **kwargs: Any) -> Any:
        return _chosen(original, replacements)(*args, **kwargs)

    _describe(function, original)
    vars(function).update(getattr(original, "__dict__", {}))
    return function


class Place(Protocol):
    """Something that apps may change, and that is to be as it was for all others."""

    def check(self, author: Callable[[Any], AppView | None]) -> None:
        """Finds what has been changed. ``author`` tells by whom; None: nobody knows."""

    def forget(self, app: AppView) -> None:
        """Drops what an app has put there."""


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
        """Finds what has been replaced. ``author`` tells by whom."""
        names = vars(self._owner)
        for name, value in list(names.items()):
            expected = self._expected.get(name, _MISSING)
            if value is expected or name in self._others:
                continue
            if expected is _MISSING and not (self._takes_new and type(value) in self._kinds):
                self._others.add(name)  # of a module, or no function
            elif callable(value) or hasattr(type(value), "__get__"):
                app = author(value)
                if app is not None:
                    self._take(name, value, app)
            else:
                setattr(self._owner, name, expected)  # nothing that anyone could call
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
        """Drops the replacements of an app. Other apps' may still hold the dispatchers."""
        for name, before in list(self._replacements.items()):
            gone = [each for each in before if each.app() in (None, app)]
            for each in gone:
                each.value = _MISSING
            if gone:
                self._put(name, tuple(each for each in before if each not in gone))


class _Watch:
    """All places, and when they were compared."""

    def __init__(self) -> None:
        self.places: list[Place] = []
        self.checked = 0.0
        self.checker: list[object] = []  # at most one


_watch = _Watch()


def _namespace(value: Any) -> Mapping[str, Any] | None:
    """The globals of the module in which a replacement was written."""
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
    """The app one of whose modules has made a replacement; None if it is a shared package's."""
    try:
        namespace = _namespace(value)
    except Exception:  # an object that answers in its own way
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
    """Makes what apps have replaced theirs alone. False if another thread is just doing it.

    Args:
        app: the author of replacements that shared packages have made; without it, they stay.
    """
    me = object()
    _watch.checker.append(me)  # not a lock: destructors, which may import, can run meanwhile
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
    """The same once more for an app that has been loaded."""
    deadline = monotonic() + _PATIENCE
    while not check(app) and monotonic() < deadline:
        sleep(_INTERVAL)


def check_soon(app: AppView) -> None:
    """The same, unless it was done a moment ago."""
    if monotonic() >= _watch.checked + _INTERVAL:
        check(app)


def forget(app: AppView) -> None:
    """Drops what an app has replaced."""
    for place in _watch.places:
        place.forget(app)


def watch(place: Place) -> None:
    """Compares a place from now on."""
    _watch.places.append(place)


def watch_module(module: Any) -> None:
    """Compares the functions of a module from now on."""
    watch(_Place(module, _FUNCTIONS, _function))


def watch_classes(module: Any, names: Iterable[str]) -> None:
    """Compares the methods of classes of a module from now on."""
    for name in names:
        watch(_Place(getattr(module, name), _METHODS, _Method))
