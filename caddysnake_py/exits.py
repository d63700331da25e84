"""Per-app ``atexit``: an app's functions run when the app is unloaded."""

from __future__ import annotations

import atexit
import logging
import sys
import threading
from collections.abc import Callable
from types import FunctionType, MethodType
from typing import Any

import _caddysnake

from caddysnake_py import jobs, logs
from caddysnake_py.layers import AppView, Layer
from caddysnake_py.view import use

_register = atexit.register
_unregister = atexit.unregister


class _OfLayer:
    """An exit function of a shared package; runs under the view of the package's layer."""

    def __init__(self, layer: Layer, function: Callable[..., Any]) -> None:
        self._layer = layer
        self._function = function

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        with use(self._layer):
            return self._function(*args, **kwargs)

    def __eq__(self, other: object) -> bool:
        """``atexit.unregister`` compares functions with ``==``."""
        return self is other or self._function == other

    __hash__ = None  # type: ignore[assignment]


def _module_of(function: object) -> str | None:
    """Returns the name of the module that defines a function; None for local functions and
    callables that are not functions."""
    if isinstance(function, MethodType) and isinstance(function.__self__, type):
        function = function.__func__  # a class method
    if not isinstance(function, FunctionType) or "<locals>" in function.__qualname__:
        return None
    name: str = function.__globals__.get("__name__", "")
    module = sys.modules.get(name)
    is_from_there = module is not None and module.__dict__ is function.__globals__
    return name if is_from_there else None


def _is_shared(function: object) -> bool:
    """Returns whether a function is defined in a shared module. Registered without arguments, such
    a function cleans up state that all apps share, as that of ``weakref.finalize`` does."""
    name = _module_of(function)
    return name is not None and not isinstance(_caddysnake.owner(name), AppView)


def register(function: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Callable[..., Any]:
    """Replaces ``atexit.register``."""
    view = _caddysnake.current_view()
    if not isinstance(view, AppView) or (not args and not kwargs and _is_shared(function)):
        name = _module_of(function)
        owner = view if name is None else _caddysnake.owner(name)
        of_layer = _OfLayer(owner, function) if isinstance(owner, Layer) else function
        _register(of_layer, *args, **kwargs)
        return function
    if not callable(function):
        raise TypeError("the first argument must be callable")
    view.at_exit.append((function, args, kwargs))
    return function


def unregister(function: Callable[..., Any], /) -> None:
    """Replaces ``atexit.unregister``."""
    view = _caddysnake.current_view()
    if isinstance(view, AppView):
        view.at_exit[:] = [entry for entry in view.at_exit if entry[0] != function]
    _unregister(function)


def _end_jobs(app: AppView) -> None:
    jobs.end(thread for thread in threading.enumerate() if thread.ident in app.threads)


def run(app: AppView) -> None:
    """Runs the exit functions of an app, the last registered first. The app's view must be current
    on this thread."""
    app.at_exit.insert(0, (_end_jobs, (app,), {}))
    while app.at_exit:
        function, args, kwargs = app.at_exit.pop()
        try:
            function(*args, **kwargs)
        except BaseException as error:
            logs.emit(
                logging.ERROR,
                "caddysnake",
                f"exception in an atexit function\n{logs.format_exception(error)}",
                app.app,
            )


def install() -> None:
    """Makes ``atexit`` per-app."""
    atexit.register = register
    atexit.unregister = unregister
