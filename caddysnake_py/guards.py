"""Keeps apps from changing state of the process: signal handlers, the server's descriptors, and
settings of the interpreter. Forked children may change theirs."""

from __future__ import annotations

import builtins
import errno
import faulthandler
import functools
import gc
import io
import logging
import operator
import os
import signal
import socket
import stat
import sys
import threading
import traceback
from collections.abc import Callable
from sys import _getframe
from typing import Any

import _caddysnake

from caddysnake_py import descriptor_owners, logs, loop_descriptors, settings

_server = os.getpid()
_LAST_STANDARD = 2  # descriptors 0 to 2
_KINDS_OF_LOOPS = ("[eventfd]", "[eventpoll]", "[io_uring]")
# Not guarded: a duplicate of a loop's descriptor is known as the loop's, too.
_really_close = os.close
_warned: set[str] = set()  # warnings about shared packages while they were imported


def _warn(what: str) -> None:
    """Logs, once per app, that a call has no effect, with the stack of the call."""
    own = settings.current()
    warned: set[str] = _warned if own is None else own.setdefault("warned", set())
    if what in warned:
        return
    warned.add(what)
    frames = [frame for frame in traceback.extract_stack() if frame.filename[0] != "<"]
    stack = "".join(traceback.format_list(frames[-2:])).rstrip()
    logs.emit(logging.WARNING, "caddysnake", f"{what}\n{stack}")


def _guard(module: Any, name: str, replacement: Callable[..., Any]) -> None:
    """Replaces a function for calls from apps and shared packages, but not from forked children.
    ``replacement`` gets the original as its first argument."""
    original = getattr(module, name)

    @functools.wraps(original)
    def guarded(*args: Any, **kwargs: Any) -> Any:
        if _caddysnake.current_view() is None or os.getpid() != _server:
            return original(*args, **kwargs)
        return replacement(original, *args, **kwargs)

    setattr(module, name, guarded)


# Signals


def warn_of_signal(function: str, number: Any) -> None:
    """Logs that Caddy handles the signals, so the call has no effect."""
    name = signal.Signals(number).name if number in set(signal.Signals) else number
    _warn(f"{function}({name}, …) does nothing inside Caddy, which handles the signals")


def _signal(_: Any, signalnum: int, handler: Any) -> Any:
    warn_of_signal("signal.signal", signalnum)
    return signal.getsignal(signalnum)


def _alarm(name: str, result: Any, _: Any, *args: Any) -> Any:
    _warn(f"signal.{name}() does nothing inside Caddy, which handles the signals")
    return result


def add_signal_handler(original: Callable[..., Any], number: int, *args: Any) -> None:
    """Implements ``loop.add_signal_handler`` of an app's loop."""
    if os.getpid() != _server:
        original(number, *args)
    else:
        warn_of_signal("loop.add_signal_handler", number)


def _register(_: Any, signum: int, *args: Any, **kwargs: Any) -> None:
    warn_of_signal("faulthandler.register", signum)


def _dump_later(
    dump: Callable[..., None],
    timeout: float,
    repeat: bool = False,
    file: Any = sys.stderr,
    exit: bool = False,
) -> None:
    if exit:
        _warn("faulthandler.dump_traceback_later(exit=True) does not end Caddy's process")
    dump(timeout, repeat, file)


# Descriptors


def _number(fd: Any) -> int:
    """Returns what C code takes a descriptor for, whatever methods its class has.

    Raises:
        TypeError: it is no integer.
    """
    return int.__index__(operator.index(fd))


def _is_servers(fd: Any) -> bool:
    """Returns whether the server depends on a descriptor, as far as can be determined: a standard
    stream, a descriptor of Go's network poller, or one that an event loop has for itself."""
    try:
        fd = _number(fd)
    except TypeError:
        return False
    if 0 <= fd <= _LAST_STANDARD:
        return True
    try:
        status = os.fstat(fd)
        if loop_descriptors.is_known(status):
            return True
        if stat.S_ISSOCK(status.st_mode):
            return _caddysnake.is_servers(fd)
        if stat.S_IFMT(status.st_mode):
            return False
        kind = os.readlink(f"/proc/self/fd/{fd}")
    except (OSError, OverflowError):
        return False
    is_apps = kind.endswith("[eventfd]") and fd in (settings.get("os.eventfd") or ())
    is_loops = kind.endswith(_KINDS_OF_LOOPS) and not is_apps
    return is_loops or _caddysnake.is_servers(fd)


def _close(close: Callable[[int], None], fd: int) -> None:
    fd = _number(fd)
    if _is_servers(fd):
        _warn("os.close() of a descriptor that the server uses: it stays open")
        raise OSError(errno.EBADF, os.strerror(errno.EBADF))
    (settings.get("os.eventfd") or set()).discard(fd)
    if descriptor_owners.is_owned(fd):
        descriptor_owners.vacate(fd)
    else:
        close(fd)


def _init_socket(init: Callable[..., None]) -> Callable[..., None]:
    """Wraps ``socket.socket.__init__``: an object for a descriptor of the server gets a duplicate.
    Python's own modules pass only descriptors that they have opened, and do so often."""

    @functools.wraps(init)
    def init_guarded(
        self: socket.socket,
        family: int = -1,
        type: int = -1,
        proto: int = -1,
        fileno: int | None = None,
    ) -> None:
        given = fileno
        if fileno is not None and _getframe(1).f_globals.get("__name__") not in ("socket", "ssl"):
            in_app = _caddysnake.current_view() is not None and os.getpid() == _server
            fileno = os.dup(fileno) if in_app and _is_servers(fileno) else fileno
        try:
            init(self, family, type, proto, fileno)
        except BaseException:
            if fileno is not None and fileno != given:
                _really_close(fileno)
            raise
        descriptor_owners.add_socket(self)

    return init_guarded


def _eventfd(eventfd: Callable[..., int], *args: Any, **kwargs: Any) -> int:
    fd = eventfd(*args, **kwargs)
    own = settings.current()
    if own is not None:
        own.setdefault("os.eventfd", set()).add(fd)
    return fd


def _close_range(_: Any, low: int, high: int, /) -> None:
    _warn("os.closerange() does nothing inside Caddy: other applications' descriptors are there")


def _dup2(dup2: Callable[..., int], fd: int, fd2: int, inheritable: bool = True) -> int:
    if _is_servers(fd2):
        _warn("os.dup2() onto a descriptor that the server uses: it stays as it is")
        return fd2
    return dup2(fd, fd2, inheritable)


def _open_descriptor(
    open_: Callable[..., Any],
    file: int,
    mode: str = "r",
    buffering: int = -1,
    encoding: str | None = None,
    errors: str | None = None,
    newline: str | None = None,
    closefd: bool = True,
    opener: Any = None,
) -> Any:
    """Implements ``open`` of a descriptor. A descriptor of the server, or of another socket or
    file, is duplicated, so that the file object closes the duplicate."""
    in_app = _caddysnake.current_view() is not None and os.getpid() == _server
    number = _number(file)
    is_others = in_app and closefd and (_is_servers(number) or descriptor_owners.is_owned(number))
    fd = os.dup(file) if is_others else file
    try:
        opened = open_(fd, mode, buffering, encoding, errors, newline, closefd, opener)
    except BaseException:
        if fd != file:
            _really_close(fd)
        raise
    if closefd:
        descriptor_owners.add_file(opened)
    return opened


# The interpreter


def _ignore(name: str, _: Any, *values: Any) -> None:
    _warn(f"{name}() has no effect: all applications share one interpreter")


def _stack_size(_: Any, *size: int) -> int:
    if size and size[0]:
        _warn("threading.stack_size() has no effect: all applications share one interpreter")
    return 0


# A deeper recursion of one app could overflow the C stack of its thread, which kills the process.
_MAX_RECURSION = 20_000


def _recursion_limit(set_limit: Callable[[int], None], limit: int) -> None:
    if int(limit) < 1:
        raise ValueError("recursion limit must be greater or equal than 1")
    allowed = min(int(limit), _MAX_RECURSION)
    if allowed < limit or allowed < sys.getrecursionlimit():
        _warn(
            f"sys.setrecursionlimit({limit}): all applications share the limit, which can only be "
            f"raised, up to {_MAX_RECURSION}"
        )
    if allowed > sys.getrecursionlimit():
        set_limit(allowed)


def _switch_gc(on: bool, _: Any) -> None:
    own = settings.current()
    if own is not None:
        own["gc.enabled"] = on  # the collector keeps running for the other apps


def install() -> None:
    """Installs the guards. Call it after the server has changed these settings itself."""
    _guard(signal, "signal", _signal)
    _guard(signal, "alarm", functools.partial(_alarm, "alarm", 0))
    _guard(signal, "setitimer", functools.partial(_alarm, "setitimer", (0.0, 0.0)))
    _guard(faulthandler, "register", _register)
    _guard(faulthandler, "unregister", lambda *_: False)
    _guard(faulthandler, "dump_traceback_later", _dump_later)
    _guard(os, "close", _close)
    _guard(os, "closerange", _close_range)
    _guard(os, "dup2", _dup2)
    _guard(os, "eventfd", _eventfd)
    _guard(socket, "close", _close)
    descriptor_owners.install()
    socket.socket.__init__ = _init_socket(socket.socket.__init__)  # type: ignore[method-assign]
    io.open = builtins.open = _caddysnake.open_guard(
        io.open, functools.partial(_open_descriptor, io.open), descriptor_owners.add_file
    )
    _guard(sys, "setswitchinterval", functools.partial(_ignore, "sys.setswitchinterval"))
    _guard(sys, "setrecursionlimit", _recursion_limit)
    _guard(threading, "stack_size", _stack_size)
    _guard(gc, "disable", functools.partial(_switch_gc, False))
    _guard(gc, "enable", functools.partial(_switch_gc, True))
    _guard(gc, "isenabled", lambda is_enabled: settings.get("gc.enabled", is_enabled()))
    for name in ("freeze", "unfreeze", "set_debug"):
        _guard(gc, name, functools.partial(_ignore, f"gc.{name}"))
