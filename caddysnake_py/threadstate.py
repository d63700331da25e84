"""Per-thread state of the kernel, such as priority and signal mask: restored on threads of the WSGI
pool after a request that changed it."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import os
import signal
from collections.abc import Callable
from typing import Any

import _caddysnake

# On Linux these change the calling thread, although some are documented to change the process.
_CHANGES = ("nice", "setpriority", "sched_setaffinity", "sched_setparam", "sched_setscheduler")
_IRREVERSIBLE = ("setns", "unshare")

_pthread_sigmask = signal.pthread_sigmask
_setpriority = os.setpriority
_sched_setaffinity = os.sched_setaffinity
_sched_setscheduler = os.sched_setscheduler


@dataclasses.dataclass(slots=True, frozen=True)
class System:
    """The kernel's state of a thread.

    Attributes:
        niceness: see getpriority(2).
        scheduler: the scheduling policy, see sched(7).
        priority: the static priority, see sched(7).
        processors: the CPU affinity.
        blocked: the signal mask.
    """

    niceness: int
    scheduler: int
    priority: int
    processors: frozenset[int]
    blocked: frozenset[int]


def system() -> System:
    """Returns the kernel's state of the current thread."""
    return System(
        os.getpriority(os.PRIO_PROCESS, 0),
        os.sched_getscheduler(0),
        os.sched_getparam(0).sched_priority,
        frozenset(os.sched_getaffinity(0)),
        frozenset(_pthread_sigmask(signal.SIG_BLOCK, ())),
    )


def restore(before: System) -> bool:
    """Restores the state of the current thread; False if the kernel does not allow that."""
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
    """Makes CPython raise an asynchronous exception that is pending on this thread: the interpreter
    checks for one at the end of each loop iteration."""
    for _ in range(2):
        pass


def _reporting(function: Callable[..., Any], spoiled: bool) -> Callable[..., Any]:
    @functools.wraps(function)
    def change(*args: Any, **kwargs: Any) -> Any:
        _caddysnake.thread_touched(spoiled)
        return function(*args, **kwargs)

    return change


def install() -> None:
    """Wraps the functions that change a thread's state, to report the change to the core."""
    for name in (*_CHANGES, *_IRREVERSIBLE):
        function = getattr(os, name, None)
        if function is not None:
            setattr(os, name, _reporting(function, name in _IRREVERSIBLE))
    signal.pthread_sigmask = _reporting(signal.pthread_sigmask, spoiled=False)
