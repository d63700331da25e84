"""What the system keeps for each thread: those of the WSGI pool get it back after a request."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import os
import signal
from collections.abc import Callable
from typing import Any

import _caddysnake

# These change the thread that calls them, on Linux, though some speak of the process.
_CHANGES = ("nice", "setpriority", "sched_setaffinity", "sched_setparam", "sched_setscheduler")
_NO_WAY_BACK = ("setns", "unshare")

_pthread_sigmask = signal.pthread_sigmask
_setpriority = os.setpriority
_sched_setaffinity = os.sched_setaffinity
_sched_setscheduler = os.sched_setscheduler


@dataclasses.dataclass(slots=True, frozen=True)
class System:
    """What the kernel knows of a thread."""

    niceness: int
    scheduler: int
    priority: int
    processors: frozenset[int]
    blocked: frozenset[int]


def system() -> System:
    """Returns what the kernel knows of the current thread."""
    return System(
        os.getpriority(os.PRIO_PROCESS, 0),
        os.sched_getscheduler(0),
        os.sched_getparam(0).sched_priority,
        frozenset(os.sched_getaffinity(0)),
        frozenset(_pthread_sigmask(signal.SIG_BLOCK, ())),
    )


def restore(before: System) -> bool:
    """Puts the current thread back; False if the system does not allow that."""
    with contextlib.suppress(OSError):
        now = system()
        if (now.scheduler, now.priority) != (before.scheduler, before.priority):
            _sched_setscheduler(0, before.scheduler, os.sched_param(before.priority))
        if now.niceness != before.niceness:
            _setpriority(os.PRIO_PROCESS, 0, before.niceness)
        if now.processors != before.processors:
            _sched_setaffinity(0, before.processors)
        if now.blocked != before.blocked:
            _pthread_sigmask(signal.SIG_SETMASK, before.blocked)
    return system() == before


def settle() -> None:
    """Has Python raise here what was sent to this thread, if anything was: it looks for that in
    loops."""
    for _ in range(2):
        pass


def _telling(function: Callable[..., Any], spoiled: bool) -> Callable[..., Any]:
    @functools.wraps(function)
    def change(*args: Any, **kwargs: Any) -> Any:
        _caddysnake.thread_touched(spoiled)
        return function(*args, **kwargs)

    return change


def install() -> None:
    """From now on the core learns when a thread changes what the system keeps for it."""
    for name in (*_CHANGES, *_NO_WAY_BACK):
        function = getattr(os, name, None)
        if function is not None:
            setattr(os, name, _telling(function, name in _NO_WAY_BACK))
    signal.pthread_sigmask = _telling(signal.pthread_sigmask, spoiled=False)
