"""Per-app ``os.environ``.

The process's environment is Caddy's and is never changed. The view of an app keeps the variables
that the app has set or deleted, as an overlay. Shared packages see the process's environment while
they are imported.
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
    """Returns the variables that the current app has set (value None: deleted); None outside of
    apps."""
    view = _caddysnake.current_view()
    return view.variables if isinstance(view, AppView) else None


class _Variables(MutableMapping[bytes, bytes]):
    """Replaces the dict that backs ``os.environ`` and ``os.environb``."""

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
        elif self[key] is not None:  # raises KeyError if the variable is not set
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
    """Sets the configured variables of an app before the app is loaded."""
    for name, value in values.items():
        app.variables[os.fsencode(name)] = os.fsencode(value)


def for_apps(name: str, replacement: Callable[..., Any]) -> None:
    """Replaces a function of ``os`` for calls from apps."""
    of_process = getattr(os, name)

    def function(*args: Any, **kwargs: Any) -> Any:
        view = _caddysnake.current_view()
        return (replacement if isinstance(view, AppView) else of_process)(*args, **kwargs)

    function.__name__ = function.__qualname__ = name
    function.__doc__ = of_process.__doc__
    setattr(os, name, function)


def _putenv(name: str | bytes, value: str | bytes) -> None:
    """Only validates: ``os.environ`` calls ``putenv`` before it stores a value, and a direct call
    does not change ``os.environ``."""
    name, value = os.fsencode(name), os.fsencode(value)
    if b"=" in name or not name:
        raise ValueError("illegal environment variable name")
    if b"\0" in name + value:
        raise ValueError("embedded null byte")


def _unsetenv(name: str | bytes) -> None:
    """Does nothing: a direct call does not change ``os.environ`` either."""


class _Os(ModuleType):
    """The class of ``os``. An assignment to ``os.environ`` by an app replaces the contents of the
    app's environment; the object stays the same for all apps."""

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
    """Makes ``os.environ`` per-app."""
    # os._Environ stays: it looks up `putenv` in `os`, and its mapping in `_data`.
    cpython.replace_environment(_Variables(cpython.environment_data))
    os.__class__ = _Os
    for_apps("putenv", _putenv)
    for_apps("unsetenv", _unsetenv)
