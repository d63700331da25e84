"""Resolves ``"package.module:attribute.path"`` to the app object."""

from __future__ import annotations

import difflib
import importlib
import os
import pkgutil
import sys
import traceback
from collections.abc import Callable, Iterable, Sequence
from types import ModuleType
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


def load(spec: str, directories: Sequence[str] = ()) -> Callable[..., Any]:
    """Imports a module and returns the app in it.

    Args:
        spec: ``"pkg.module:attribute"``; the attribute may be dotted, and is called without
            arguments when it ends in ``()`` (an application factory).
        directories: those with the application's modules, for a suggestion if there is none of this
            name.

    Raises:
        LoadError: the module or attribute is missing, or the attribute is not callable.
        Exception: any exception that the app's module or factory raises.
    """
    process = os.getpid()
    try:
        return _load(spec, directories)
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


def _module(name: str, spec: str, directories: Sequence[str]) -> ModuleType:
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        missing = error.name or ""
        if not f"{name}.".startswith(f"{missing}.") or "is not a package" in str(error):
            raise  # also for a module that the application imports
        parent, _, last = missing.rpartition(".")
        paths = importlib.import_module(parent).__path__ if parent else directories
        meant = _meant(last, [module.name for module in pkgutil.iter_modules(paths)])
        raise LoadError(f"{spec}: there is no module {missing!r}{meant}") from None


def _meant(name: str, names: Iterable[str]) -> str:
    """Returns a question that names what is spelled like this name, if there is anything."""
    found = difflib.get_close_matches(name, names, 1)
    return f"; did you mean {found[0]!r}?" if found else ""


def _load(spec: str, directories: Sequence[str]) -> Callable[..., Any]:
    module_name, _, path = spec.partition(":")
    is_factory = path.endswith("()")
    path = path.removesuffix("()")
    found: Any = _module(module_name, spec, directories)
    for name in path.split("."):
        try:
            found = getattr(found, name)
        except AttributeError:
            where = getattr(found, "__file__", None) or repr(found)
            own = getattr(found, "__dict__", {})
            meant = _meant(name, [each for each, value in own.items() if callable(value)])
            raise LoadError(f"{spec}: there is no {name!r} in {where}{meant}") from None
    if is_factory:
        found = found()
    if not callable(found):
        raise LoadError(f"{spec} is not an application: {type(found).__name__} is not callable")
    app: Callable[..., Any] = found
    return app
