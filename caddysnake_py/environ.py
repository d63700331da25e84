"""``os.environ`` of each app.

The environment of the process is that of Caddy and stays as it is. What an app sets or deletes is
kept by its view, on top of that. Shared packages, while they are imported, see the process's.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, MutableMapping
from types import ModuleType
from typing import Any

import _caddysnake

from caddysnake_py import cpython
from caddysnake_py.layers import AppView


def _own() -> dict[bytes, bytes | None] | None:
    """What the current app has set (None: deleted); None where there is no app."""
    view = _caddysnake.current_view()
    return view.variables if isinstance(view, AppView) else None


class _Variables(MutableMapping[bytes, bytes]):
    """Stands in for the dict in which ``os.environ`` and ``os.environb`` keep everything."""

    def __init__(self, process: dict[bytes, bytes]) -> None:
        self._process = process

    def __getitem__(self, key: bytes) -> bytes:
        own = _own()
        value = own[key] if own is not None and key in own else self._process[key]
        if value is None:
            raise KeyError(key)
        return value

    def __setitem__(self, key: bytes, value: bytes) -> None:
        own = _own()
        if own is None:
            self._process[key] = value
        else:
            own[key] = value

    def __delitem__(self, key: bytes) -> None:
        own = _own()
        if own is None:
            del self._process[key]
        elif self[key] is not None:  # else it raises KeyError
            own[key] = None

    def __iter__(self) -> Iterator[bytes]:
        return iter(self._merged())

    def __len__(self) -> int:
        return len(self._merged())

    def __repr__(self) -> str:
        return repr(self._merged())

    def _merged(self) -> dict[bytes, bytes]:
        own = _own()
        if not own:
            return self._process
        merged = {**self._process, **own}
        return {key: value for key, value in merged.items() if value is not None}


def set_variables(app: AppView, values: Mapping[str, str]) -> None:
    """Gives an app variables before it is loaded."""
    for name, value in values.items():
        app.variables[os.fsencode(name)] = os.fsencode(value)


def for_apps(name: str, instead: Callable[..., Any]) -> None:
    """Has a function of ``os`` replaced where an app calls it."""
    of_process = getattr(os, name)

    def function(*args: Any, **kwargs: Any) -> Any:
        view = _caddysnake.current_view()
        return (instead if isinstance(view, AppView) else of_process)(*args, **kwargs)

    function.__name__ = function.__qualname__ = name
    function.__doc__ = of_process.__doc__
    setattr(os, name, function)


def _putenv(name: str | bytes, value: str | bytes) -> None:
    """Only checks: ``os.environ`` calls it before it stores a value, and alone it has no effect on
    that."""
    name, value = os.fsencode(name), os.fsencode(value)
    if b"=" in name or not name:
        raise ValueError("illegal environment variable name")
    if b"\0" in name + value:
        raise ValueError("embedded null byte")


def _unsetenv(name: str | bytes) -> None:
    """Nothing, likewise."""


class _Os(ModuleType):
    """The class of ``os``. Who replaces ``environ`` replaces what the current app has in there:
    the object stays the one that everybody has."""

    def __setattr__(self, name: str, value: Any) -> None:
        if name not in ("environ", "environb") or _own() is None:
            super().__setattr__(name, value)
        elif value is not getattr(self, name):
            content = dict(value)
            environ = getattr(self, name)
            environ.clear()
            environ.update(content)

    def __delattr__(self, name: str) -> None:
        if name not in ("environ", "environb") or _own() is None:
            super().__delattr__(name)


def install() -> None:
    """From now on each app has an environment of its own."""
    # The classes stay: they look up `putenv` in `os`, and their data in `_data`.
    cpython.replace_environment(_Variables(cpython.environment_data))
    os.__class__ = _Os
    for_apps("putenv", _putenv)
    for_apps("unsetenv", _unsetenv)
