"""``os.environ`` of each app, and what the programs that it starts inherit.

The environment of the process is that of Caddy and stays as it is. What an app sets or deletes is
kept by its view, on top of that. Shared packages, while they are imported, see the process's.
"""

from __future__ import annotations

import _posixsubprocess
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, MutableMapping
from typing import Any

import _caddysnake

from caddysnake_py.layers import App


def _own() -> dict[bytes, bytes | None] | None:
    """What the current app has set (None: deleted); None where there is no app."""
    view = _caddysnake.current_view()
    return view.variables if isinstance(view, App) else None


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


def set_variables(app: App, values: Mapping[str, str]) -> None:
    """Gives an app variables before it is loaded."""
    for name, value in values.items():
        app.variables[os.fsencode(name)] = os.fsencode(value)


def _for_app(name: str, instead: Callable[..., Any]) -> None:
    """Has a function of ``os`` replaced where an app calls it."""
    of_process = getattr(os, name)

    def function(*args: Any, **kwargs: Any) -> Any:
        own = _own()
        return of_process(*args, **kwargs) if own is None else instead(own, *args, **kwargs)

    function.__name__ = function.__qualname__ = name
    function.__doc__ = of_process.__doc__
    setattr(os, name, function)


def _putenv(own: dict[bytes, bytes | None], name: str | bytes, value: str | bytes) -> None:
    # os.environ calls it first, whatever it is given, and relies on its checks.
    name, value = os.fsencode(name), os.fsencode(value)
    if b"=" in name or not name:
        raise ValueError("illegal environment variable name")
    if b"\0" in name + value:
        raise ValueError("embedded null byte")
    own[name] = value


def _unsetenv(own: dict[bytes, bytes | None], name: str | bytes) -> None:
    """Nothing: ``os.environ`` deletes the value itself, and alone it has no effect on that."""


def _system(own: dict[bytes, bytes | None], command: str | bytes) -> int:
    code = subprocess.call(command, shell=True)
    return code << 8 if code >= 0 else -code


def _execv(own: dict[bytes, bytes | None], path: Any, argv: Any) -> None:
    os.execve(path, argv, os.environ)


def _fork_exec(fork_exec: Callable[..., int]) -> Callable[..., int]:
    """Gives programs the app's environment where they would inherit the process's: under
    ``subprocess``, ``asyncio`` and ``multiprocessing``."""

    def fork_exec_in_app(*args: Any) -> int:
        if args[5] is None and _own():
            pairs = [b"%b=%b" % pair for pair in os.environb.items()]
            args = (*args[:5], pairs, *args[6:])
        return fork_exec(*args)

    return fork_exec_in_app


def for_subprocesses(loop: Any) -> None:
    """The same for uvloop, which starts programs on its own."""
    for name in ("subprocess_exec", "subprocess_shell"):
        setattr(loop, name, _with_environment(getattr(loop, name)))


def _with_environment(start: Callable[..., Any]) -> Callable[..., Any]:
    def start_in_app(*args: Any, env: Any = None, **kwargs: Any) -> Any:
        if env is None:
            env = os.environ.copy()
        return start(*args, env=env, **kwargs)

    return start_in_app


def install() -> None:
    """From now on each app has an environment of its own."""
    # The classes stay: they look up `putenv` in `os`, and their data in `_data`.
    os.environ._data = os.environb._data = _Variables(os.environ._data)  # type: ignore[attr-defined]
    _for_app("putenv", _putenv)
    _for_app("unsetenv", _unsetenv)
    _for_app("system", _system)
    _for_app("execv", _execv)
    replacement = _fork_exec(_posixsubprocess.fork_exec)
    _posixsubprocess.fork_exec = replacement
    if sys.version_info >= (3, 11):
        subprocess._fork_exec = replacement  # type: ignore[attr-defined]
