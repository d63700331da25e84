"""Watches what takes long: logs where WSGI requests and blocked event loops are, and ends WSGI
requests that timed out."""

from __future__ import annotations

import contextlib
import dataclasses
import logging
import sys
import threading
import time
import traceback

import _caddysnake

from caddysnake_py import logs, patches, threads

_INTERVAL = 0.5  # seconds
# A request that reads or writes learns that its client is gone, and ends by itself: an exception
# more would disturb what it does then.
LEAVE_SECONDS = 0.4


class RequestTimeout(BaseException):
    """Raised in the app when its ``request_timeout`` has passed, or its ``drain_timeout`` after
    its code was replaced, and the client got its 504 or 503.

    Not an ``Exception``, so that an app's ``except Exception`` does not carry on.
    """


@dataclasses.dataclass(slots=True, frozen=True)
class Limits:
    """What an app is allowed; 0 stands for no limit.

    Attributes:
        slow: seconds after which a running request is reported.
        timeout: seconds after which it is answered with 504, by Go.
    """

    slow: float
    timeout: float


@dataclasses.dataclass(slots=True)
class Loop:
    """The event loop of an ASGI app.

    Attributes:
        core: the app, which can ask the loop for a sign of life.
        thread: identity of the loop's thread.
        limit: seconds after which a loop that gives none is reported.
        reported: whether that has been done for the current silence.
    """

    core: _caddysnake.Generation
    thread: int
    limit: float
    reported: bool = False


loops: dict[int, Loop] = {}  # by the app's id
limits: dict[int, Limits] = {}  # by the app's id
_reported: set[int] = set()  # serial numbers of requests


def _stack(thread: int) -> str:
    """Where a thread is, from the app's first frame on."""
    frames = traceback.extract_stack(sys._current_frames().get(thread))
    while frames and (logs.is_own(frames[0].filename) or frames[0].filename == threading.__file__):
        del frames[0]
    return "".join(frames.format()).rstrip("\n")


def _interrupt(thread: int, app: int, serial: int, what: str, level: int) -> None:
    stack = _stack(thread)
    if _caddysnake.wsgi_interrupt(thread, serial, RequestTimeout):
        logs.emit(level, "caddysnake", f"{what}; it was here:\n{stack}", app)


def end_requests(ending: int) -> None:
    """Ends the requests that run on an app, each once: nobody waits for their answers."""
    for thread, app, serial, seconds, _ in _caddysnake.wsgi_running():
        if app == ending:
            what = f"request was cancelled after {seconds:.1f} s, because its code is to end"
            _interrupt(thread, app, serial, what, logging.WARNING)


def _check(running: list[tuple[int, int, int, float, bool]]) -> None:
    for thread, app, serial, seconds, timed_out in running:
        limit = limits.get(app)
        if limit is None:
            continue
        if timed_out and limit.timeout and seconds >= limit.timeout + LEAVE_SECONDS:
            what = f"request timed out after {limit.timeout:g} s"
            _interrupt(thread, app, serial, what, logging.ERROR)
        elif limit.slow and seconds >= limit.slow and serial not in _reported:
            _reported.add(serial)
            text = f"request has been running for {seconds:.1f} s; it is here:\n{_stack(thread)}"
            logs.emit(logging.WARNING, "caddysnake", text, app)


def watch_loop(core: _caddysnake.Generation, app: int, thread: int, limit: float) -> None:
    """Reports when the loop of an app is blocked for ``limit`` seconds while requests run."""
    loops[app] = Loop(core, thread, limit)


def forget(app: int) -> None:
    """Watches an app that has been unloaded no longer."""
    limits.pop(app, None)
    loops.pop(app, None)


def _check_loops() -> None:
    for app, loop in list(loops.items()):
        if not loop.core.inflight:
            continue  # a loop that nobody needs may sleep
        silent = loop.core.probe()
        if silent < loop.limit:
            loop.reported = loop.reported and silent > 0
        elif not loop.reported:
            loop.reported = True
            stack = _stack(loop.thread)
            text = f"event loop has been blocked for {silent:.1f} s; it is here:\n{stack}"
            logs.emit(logging.WARNING, "caddysnake", text, app)


def _look() -> None:
    patches.check(None)  # first: what follows calls functions that an app may have replaced
    running = _caddysnake.wsgi_running()
    _reported.intersection_update({entry[2] for entry in running})
    _check(running)
    _check_loops()


def _watch() -> None:
    sleep = time.sleep
    while True:
        sleep(_INTERVAL)
        try:
            _look()
        except Exception as error:
            with contextlib.suppress(Exception):
                logs.emit(logging.ERROR, "caddysnake", logs.format_exception(error))


def start() -> None:
    """Starts the watching thread."""
    threads.start_outside(_watch, "watchdog")
