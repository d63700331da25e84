"""Per-app ``threading.settrace`` and ``setprofile``: they apply to threads that the app starts."""

from __future__ import annotations

import functools
import sys
import threading
from collections.abc import Callable
from typing import Any

import _caddysnake

from caddysnake_py.layers import AppView

# The name in `threading`, and the function that sets it for one thread.
_SETTERS = {"trace": sys.settrace, "profile": sys.setprofile}


def begin(view: _caddysnake.View) -> None:
    """Installs an app's trace and profile functions on a new thread."""
    if isinstance(view, AppView):
        for kind, function in view.tracing.items():
            _SETTERS[kind](function)


def _owned_setter(kind: str, set_for_all: Callable[..., None], now: bool) -> Callable[..., None]:
    @functools.wraps(set_for_all)
    def set_for_app(func: Any) -> None:
        view = _caddysnake.current_view()
        if not isinstance(view, AppView):
            set_for_all(func)
            return
        view.tracing[kind] = func
        if now:
            _SETTERS[kind](func)

    return set_for_app


def _owned_getter(kind: str, get_for_all: Callable[[], Any]) -> Callable[[], Any]:
    @functools.wraps(get_for_all)
    def get_for_app() -> Any:
        view = _caddysnake.current_view()
        return view.tracing.get(kind) if isinstance(view, AppView) else get_for_all()

    return get_for_app


def install() -> None:
    """Makes tracing per-app. ``settrace_all_threads`` does not reach threads that already run,
    except the current one."""
    module: Any = threading
    for kind in _SETTERS:
        for name, now in ((f"set{kind}", False), (f"set{kind}_all_threads", True)):
            if hasattr(module, name):
                setattr(module, name, _owned_setter(kind, getattr(module, name), now))
        setattr(module, f"get{kind}", _owned_getter(kind, getattr(module, f"get{kind}")))
