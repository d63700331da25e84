"""Resolves ``"package.module:attribute.path"`` to the app object."""

from __future__ import annotations

import importlib
import os
import sys
import traceback
from collections.abc import Callable
from typing import Any, NoReturn

from caddysnake_py import logs


class LoadError(Exception):
    """The app cannot be loaded. The message explains the reason; no traceback is needed."""


def error_text(error: BaseException) -> str:
    """Returns what Caddy says about an app that cannot be loaded: a traceback, unless the error
    explains itself."""
    if isinstance(error, LoadError):
        cause = error.__cause__
        return str(error) if cause is None else f"{error}\n{logs.format_exception(cause)}"
    return logs.format_exception(error)


def load(spec: str) -> Callable[..., Any]:
    """Imports a module and returns the app in it.

    Args:
        spec: ``"pkg.module:attribute"``; the attribute may be dotted, and is called without
            arguments when it ends in ``()`` (an application factory).

    Raises:
        LoadError: the attribute is missing or not callable.
        Exception: any exception that the app's module or factory raises.
    """
    process = os.getpid()
    try:
        return _load(spec)
    finally:
        if os.getpid() != process:
            _end_child(sys.exc_info()[1])


def _end_child(error: BaseException | None) -> NoReturn:
    """Exits a child process that the module forked and that returned from the import: a child
    cannot serve requests."""
    status = os.EX_SOFTWARE
    if isinstance(error, SystemExit):
        status = error.code if isinstance(error.code, int) else int(error.code is not None)
    elif error is not None:
        traceback.print_exception(error)
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status & 0xFF)


def _load(spec: str) -> Callable[..., Any]:
    module_name, _, path = spec.partition(":")
    is_factory = path.endswith("()")
    path = path.removesuffix("()")
    found: Any = importlib.import_module(module_name)
    for name in path.split("."):
        try:
            found = getattr(found, name)
        except AttributeError:
            where = getattr(found, "__file__", None) or repr(found)
            raise LoadError(f"{spec}: there is no {name!r} in {where}") from None
    if is_factory:
        found = found()
    if not callable(found):
        raise LoadError(f"{spec} is not an application: {type(found).__name__} is not callable")
    app: Callable[..., Any] = found
    return app
