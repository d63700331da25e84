"""Per-app hooks of ``sys``, ``threading`` and ``warnings``, such as ``sys.excepthook``."""

from __future__ import annotations

import sys
import threading
import warnings
import weakref
from collections.abc import Callable
from typing import Any

import _caddysnake

from caddysnake_py import log_hooks, settings, streams


def _dispatcher(key: str, default: Callable[..., Any]) -> Callable[..., Any]:
    def hook(*args: Any, **kwargs: Any) -> Any:
        own = settings.get(key)
        return (default if own is None else own)(*args, **kwargs)

    return hook


def _own_hook(module: Any, name: str, default: Callable[..., Any]) -> None:
    setattr(module, name, _dispatcher(f"{module.__name__}.{name}", default))
    settings.own_attribute(module, name, lambda: default)


def _add_audit_hook(add: Callable[..., None], hook: Callable[..., object]) -> None:
    """Replaces ``sys.addaudithook``: the hook gets the events of its own app, until the app is
    unloaded."""
    app = weakref.ref(_caddysnake.current_view())
    taken = [hook]

    def hook_of_app(event: str, args: tuple[Any, ...]) -> None:
        view = app()
        if view is None:
            taken.clear()  # Python never removes an audit hook
        elif _caddysnake.current_view() is view:
            for each in taken:
                each(event, args)

    add(hook_of_app)


def install() -> None:
    """Makes the hooks per-app. `sysmodule.install` must have replaced the class of ``sys``."""
    for router in (streams.stdout, streams.stderr):
        settings.own_attribute(sys, router.source, router.own)
    for name in ("excepthook", "unraisablehook", "displayhook", "breakpointhook"):
        _own_hook(sys, name, getattr(sys, f"__{name}__"))
    _own_hook(threading, "excepthook", log_hooks.thread_exception)
    _own_hook(warnings, "showwarning", log_hooks.show_warning)
    _own_hook(warnings, "formatwarning", warnings.formatwarning)
    settings.function_for_apps(sys, "addaudithook", _add_audit_hook)
