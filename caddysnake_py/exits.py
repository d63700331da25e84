"""``atexit`` of an app: its functions run when it is unloaded, which is its end."""

from __future__ import annotations

import atexit
import logging
from collections.abc import Callable
from typing import Any

import _caddysnake

from caddysnake_py import logs
from caddysnake_py.layers import App

_register = atexit.register
_unregister = atexit.unregister


def register(function: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Callable[..., Any]:
    """Stands in for ``atexit.register``."""
    view = _caddysnake.current_view()
    if not isinstance(view, App):
        return _register(function, *args, **kwargs)
    if not callable(function):
        raise TypeError("the first argument must be callable")
    view.at_exit.append((function, args, kwargs))
    return function


def unregister(function: Callable[..., Any], /) -> None:
    """Stands in for ``atexit.unregister``."""
    view = _caddysnake.current_view()
    if isinstance(view, App):
        view.at_exit[:] = [entry for entry in view.at_exit if entry[0] != function]
    _unregister(function)


def run(app: App) -> None:
    """Runs what an app has registered, the last first, as the thread of that app."""
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
    """From now on ``atexit`` is the app's."""
    atexit.register = register
    atexit.unregister = unregister
