"""Programs that an app starts inherit the app's environment, not that of Caddy's process."""

from __future__ import annotations

import asyncio
import functools
import os
import subprocess
import threading
from collections.abc import Callable, Coroutine, Generator
from types import coroutine
from typing import Any, NoReturn

import _caddysnake

from caddysnake_py import cpython
from caddysnake_py.environ import for_apps
from caddysnake_py.layers import AppView


def _fork_exec(fork_exec: Callable[..., int]) -> Callable[..., int]:
    """Wraps ``_posixsubprocess.fork_exec``: passes the app's environment if ``env`` is None, which
    stands for the environment of the process."""
    env = cpython.FORK_EXEC_ENV

    def fork_exec_in_app(*args: Any) -> int:
        if args[env] is None and isinstance(_caddysnake.current_view(), AppView):
            pairs = [b"%b=%b" % pair for pair in os.environb.items()]
            args = (*args[:env], pairs, *args[env + 1 :])
        return fork_exec(*args)

    return fork_exec_in_app


def _system(command: str | bytes) -> int:
    code = subprocess.call(command, shell=True)
    return code << 8 if code >= 0 else -code


def _execv(path: Any, argv: Any) -> NoReturn:
    os.execve(path, argv, os.environ)


def _spawn(spawn: Callable[..., int], path: Any, argv: Any, env: Any, /, **options: Any) -> int:
    """Implements ``os.posix_spawn``. ``env`` may be None since Python 3.13, and in calls from
    ``subprocess``."""
    return spawn(path, argv, os.environ if env is None else env, **options)


# Held for one step of a coroutine. Acquired without blocking: a destructor may run within that step
# and start another program.
_uvloop_starts = threading.Lock()
_RETRY = 0.001  # seconds


@coroutine
def _start_alone(start: Coroutine[Any, Any, Any]) -> Generator[Any, Any, Any]:
    """Awaits ``start``, whose first step forks: uvloop refuses to fork on two loops at the same
    time."""
    while not _uvloop_starts.acquire(blocking=False):
        yield from asyncio.sleep(_RETRY).__await__()
    try:
        try:
            waiting_for = start.send(None)
        finally:
            _uvloop_starts.release()
        while True:
            try:
                value = yield waiting_for
            except GeneratorExit:
                start.close()
                raise
            except BaseException as error:
                waiting_for = start.throw(error)
            else:
                waiting_for = start.send(value)
    except StopIteration as end:
        return end.value


def set_up_uvloop(loop: Any) -> None:
    """Passes the app's environment to programs that a uvloop loop starts: uvloop does not use
    ``subprocess``."""
    for name in ("subprocess_exec", "subprocess_shell"):
        setattr(loop, name, _with_environment(getattr(loop, name)))


def _with_environment(start: Callable[..., Any]) -> Callable[..., Any]:
    async def start_in_app(*args: Any, env: Any = None, **kwargs: Any) -> Any:
        env = os.environ.copy() if env is None else env
        return await _start_alone(start(*args, env=env, **kwargs))

    return start_in_app


def install() -> None:
    """Makes programs inherit the environment of the app that starts them."""
    for_apps("system", _system)
    for_apps("execv", _execv)
    for name in ("posix_spawn", "posix_spawnp"):
        for_apps(name, functools.partial(_spawn, getattr(os, name)))
    cpython.replace_fork_exec(_fork_exec)
