"""The sockets and files of Python that have a descriptor. Each closes its number in the end, so the
number stays in use until then, even if an application closes the descriptor by number: the object
would close what has got the number since, such as the epoll of another application's loop."""

from __future__ import annotations

import errno
import functools
import os
import socket
import weakref
from _io import FileIO
from _socket import socket as BaseSocket
from collections.abc import Callable
from contextlib import suppress
from fcntl import F_GETFL, fcntl
from os import close, dup2, open  # an app may replace those of os, and guards do
from typing import Any

_owners: dict[int, tuple[weakref.ref[Any], ...]] = {}
_socket_fileno, _file_fileno = BaseSocket.fileno, FileIO.fileno  # not those of subclasses


def _has(owner: Any, fd: int) -> bool:
    try:
        number = _file_fileno(owner) if type(owner) is FileIO else _socket_fileno(owner)
    except (TypeError, ValueError):  # it is None, or a closed file
        return False
    return number == fd


def _add(fd: int, owner: Any) -> None:
    others = (other for other in _owners.get(fd, ()) if other() is not owner)
    _owners[fd] = (*(other for other in others if _has(other(), fd)), weakref.ref(owner))


def add_socket(new: socket.socket) -> None:
    """Makes a new socket known."""
    fd = _socket_fileno(new)
    if fd >= 0:
        _add(fd, new)


def add_file(new: Any) -> None:
    """Makes a file known that ``open`` has returned, and that is to close its descriptor."""
    buffer = getattr(new, "buffer", new)
    raw = getattr(buffer, "raw", buffer)
    if type(raw) is FileIO:
        _add(_file_fileno(raw), raw)


def is_owned(fd: int, but: object = None) -> bool:
    """Returns whether a socket or file other than ``but`` has a descriptor."""
    for reference in _owners.get(fd, ()):
        owner = reference()
        if owner is not but and _has(owner, fd):
            return True
    return False


def vacate(fd: int) -> None:
    """Closes a descriptor, but keeps its number in use until the owner closes it.

    What takes its place is open as a path only: reading, writing and the like fail with EBADF, as
    if nothing was open.

    Raises:
        OSError: EBADF if the descriptor is closed, or has been vacated; EMFILE if there is no
            descriptor left, and it stays open.
    """
    if fcntl(fd, F_GETFL) & os.O_PATH:
        raise OSError(errno.EBADF, os.strerror(errno.EBADF))
    path = open("/", os.O_PATH | os.O_CLOEXEC)
    try:
        dup2(path, fd, inheritable=False)
    finally:
        close(path)


def _leave_shared(own: socket.socket) -> None:
    """Vacates the descriptor of a socket that is about to close it, if another object has it."""
    fd = _socket_fileno(own)
    if fd >= 0 and is_owned(fd, but=own):
        BaseSocket.detach(own)
        with suppress(OSError):
            vacate(fd)


def _wrap_close(close_socket: Callable[[Any], None]) -> Callable[[Any], None]:
    @functools.wraps(close_socket)
    def close_alone(self: socket.socket) -> None:
        _leave_shared(self)
        close_socket(self)

    return close_alone


def install() -> None:
    """Makes sockets that are closed or freed leave their number to others that have it."""
    cls: Any = socket.socket
    cls.close = _wrap_close(cls.close)
    cls.__del__ = _wrap_close(cls.__del__)
