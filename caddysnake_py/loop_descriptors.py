"""The sockets and pipes that event loops open for themselves, which no code may close by number.

A loop that loses one sleeps forever, or reads what belongs to others once the number is used again;
uvloop ends the process. The kernel's number of a socket or pipe stays unique while the number of
the descriptor is reused, and both ends of a pipe have the same one. The epolls, eventfds and
io_urings of loops have no such number: `guards` recognises their kind.
"""

from __future__ import annotations

import array
import asyncio
import fcntl
import functools
import os
import re
import stat
import termios
import weakref
from collections.abc import Callable, Iterable
from contextlib import suppress
from os import fstat, listdir  # an app may replace those of os
from types import ModuleType
from typing import Any

from caddysnake_py import cpython, imports

_Identity = tuple[int, int]  # device and inode

_server = os.getpid()
_known: set[_Identity] = set()
_libraries: set[str] = set()  # paths of uvloop's extension modules
_WATCHED = re.compile(rb"^tfd: *(\d+)", re.MULTILINE)


def is_known(status: os.stat_result) -> bool:
    """Returns whether a descriptor, of which ``status`` is the status, is a loop's own."""
    return (status.st_dev, status.st_ino) in _known


def _identify(fds: Iterable[int], is_wanted: Callable[[int, int], bool]) -> set[_Identity]:
    """Returns the identities of those descriptors for which ``is_wanted(fd, mode)``. Ignores those
    that are closed meanwhile."""
    found = set()
    for fd in fds:
        with suppress(OSError):
            status = fstat(fd)
            if is_wanted(fd, status.st_mode):
                found.add((status.st_dev, status.st_ino))
    return found


def _keep(loop: Any, fds: Iterable[int]) -> None:
    """Adds the sockets and pipes among ``fds`` to the known ones, for as long as the loop lives."""
    own = _identify(fds, lambda _, mode: stat.S_ISSOCK(mode) or stat.S_ISFIFO(mode))
    _known.update(own)
    weakref.finalize(loop, _known.difference_update, own).atexit = False


# asyncio


def _keep_self_pipe(make: Callable[[Any], None]) -> Callable[[Any], None]:
    @functools.wraps(make)
    def make_known(loop: Any) -> None:
        make(loop)
        _keep(loop, cpython.self_pipe(loop))

    return make_known


# uvloop


def _open_pipes(is_wanted: Callable[[int], bool]) -> set[_Identity]:
    fds = map(int, listdir("/proc/self/fd"))
    return _identify(fds, lambda fd, mode: stat.S_ISFIFO(mode) and is_wanted(fd))


def _may_be_lock(fd: int) -> bool:
    """Returns whether a pipe may be the one by which libuv locks signals: it blocks, programs do
    not inherit it, and it holds a byte while nobody has the lock."""
    held = array.array("i", [0])
    fcntl.ioctl(fd, termios.FIONREAD, held)
    blocks = not fcntl.fcntl(fd, fcntl.F_GETFL) & os.O_NONBLOCK
    return held[0] == 1 and blocks and bool(fcntl.fcntl(fd, fcntl.F_GETFD) & fcntl.FD_CLOEXEC)


def _keep_lock(new_loop: Callable[[], Any], library: str) -> None:
    """Finds the pipe that each copy of libuv opens with its first loop, and never closes."""
    if library in _libraries:
        return
    _libraries.add(library)
    with suppress(OSError):  # no /proc
        before = _open_pipes(lambda _: True)
        new_loop().close()
        _known.update(_open_pipes(_may_be_lock) - before)


def _turn(loop: Any, methods: Any) -> None:
    """Lets a new loop run for two rounds: libuv adds its descriptors to the epoll in the first."""
    running = asyncio._get_running_loop()
    asyncio._set_running_loop(None)
    try:
        methods.call_soon(loop, methods.call_soon, loop, functools.partial(methods.stop, loop))
        methods.run_forever(loop)
    finally:
        asyncio._set_running_loop(running)


def _keep_watched(methods: Any, init: Callable[..., None]) -> Callable[..., None]:
    """Wraps ``Loop.__init__``. ``methods`` is the class whose methods no app has overridden."""

    @functools.wraps(init)
    def init_known(loop: Any, *args: Any, **kwargs: Any) -> None:
        init(loop, *args, **kwargs)
        if os.getpid() != _server:
            return
        _turn(loop, methods)
        path = f"/proc/self/fdinfo/{methods._get_backend_id(loop)}"
        with suppress(OSError), open(path, "rb") as info:  # no /proc, or no descriptor left for it
            _keep(loop, map(int, _WATCHED.findall(info.read())))

    return init_known


def _watch_uvloop(module: ModuleType) -> None:
    loop, library = getattr(module, "Loop", None), getattr(module, "loop", None)
    methods: Any = getattr(loop, "__base__", None)
    if library is not None and hasattr(methods, "_get_backend_id"):  # else it only has the name
        _keep_lock(methods, str(library.__file__))
        module.Loop.__init__ = _keep_watched(methods, module.Loop.__init__)


def install() -> None:
    """Makes the descriptors known of every loop that the server or an app creates from now on."""
    if cpython.WAKING not in cpython.absent:
        cpython.replace_make_self_pipe(_keep_self_pipe)
    imports.when_package_loaded("uvloop", _watch_uvloop)
