"""Threads belong to the app that starts them, so that the log can name it."""

from __future__ import annotations

import _thread
import functools
import threading
from collections.abc import Callable
from typing import Any

import _caddysnake

_NAMES = (
    "start_new_thread",
    "_start_new_thread",
    "start_joinable_thread",
    "_start_joinable_thread",
)


def _inheriting(start: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(start)
    def start_in_app(function: Callable[..., object], *args: Any, **kwargs: Any) -> Any:
        app = _caddysnake.current_app()
        if not app:
            return start(function, *args, **kwargs)

        def run(*run_args: Any, **run_kwargs: Any) -> object:
            _caddysnake.enter_app(app)
            return function(*run_args, **run_kwargs)

        return start(run, *args, **kwargs)

    return start_in_app


def install() -> None:
    """Wraps every function with which Python starts a thread; aliases get the same wrapper."""
    wrapped: dict[object, Callable[..., Any]] = {}
    for module in (_thread, threading):
        for name in _NAMES:
            start = getattr(module, name, None)
            if start is not None:
                setattr(module, name, wrapped.setdefault(start, _inheriting(start)))
