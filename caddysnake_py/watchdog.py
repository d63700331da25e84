"""Logs the stacks of slow WSGI requests and of blocked event loops, and ends WSGI requests that
timed out."""

from __future__ import annotations

import contextlib
import dataclasses
import logging
import time

import _caddysnake

from caddysnake_py import logs, patches, stacks, threads

_INTERVAL = 0.5  # seconds
# Seconds to wait before RequestTimeout is raised: a request that reads or writes gets an OSError
# first and ends by itself. A second exception would interrupt its cleanup.
DISCONNECT_SECONDS = 0.4


class RequestTimeout(BaseException):
    """Raised in the app after the ``request_timeout``, or after the ``drain_timeout`` of replaced
    code. The client has received status 504 or 503 by then.

    Not an ``Exception``, so that an ``except Exception`` in the app does not suppress it.
    """


@dataclasses.dataclass(slots=True, frozen=True)
class Limits:
    """The time limits of an app; 0 means no limit.

    Attributes:
        slow: seconds after which a running request is reported.
        timeout: seconds after which Go answers the request with status 504.
    """

    slow: float
    timeout: float


@dataclasses.dataclass(slots=True)
class Loop:
    """The event loop of an ASGI app.

    Attributes:
        core: the app's generation, which probes the loop.
        thread: the identity of the loop's thread.
        limit: seconds without a response to the probe after which the loop is reported as blocked.
        reported: whether the current blockage has been reported.
    """

    core: _caddysnake.Generation
    thread: int
    limit: float
    reported: bool = False


loops: dict[int, Loop] = {}  # by the app's id
limits: dict[int, Limits] = {}  # by the app's id
_reported: set[int] = set()  # serial numbers of the requests reported as slow


def _interrupt(thread: int, app: int, serial: int, what: str, level: int) -> None:
    stack = stacks.of_thread(thread)
    if _caddysnake.wsgi_interrupt(thread, serial, RequestTimeout):
        logs.emit(level, "caddysnake", f"{what}; it was here:\n{stack}", app)


def end_requests(ending: int) -> None:
    """Raises `RequestTimeout` once in each running request of an app, whose clients have been
    answered already."""
    for thread, app, serial, seconds, _ in _caddysnake.wsgi_running():
        if app == ending:
            what = (
                f"request was cancelled after {seconds:.1f} s, because its code is being unloaded"
            )
            _interrupt(thread, app, serial, what, logging.WARNING)


def _check(running: list[tuple[int, int, int, float, bool]]) -> None:
    for thread, app, serial, seconds, timed_out in running:
        limit = limits.get(app)
        if limit is None:
            continue
        if timed_out and limit.timeout and seconds >= limit.timeout + DISCONNECT_SECONDS:
            what = f"request timed out after {limit.timeout:g} s"
            _interrupt(thread, app, serial, what, logging.ERROR)
        elif limit.slow and seconds >= limit.slow and serial not in _reported:
            _reported.add(serial)
            stack = stacks.of_thread(thread)
            text = f"request has been running for {seconds:.1f} s; it is here:\n{stack}"
            logs.emit(logging.WARNING, "caddysnake", text, app)


def watch_loop(core: _caddysnake.Generation, app: int, thread: int, limit: float) -> None:
    """Reports the loop of an app when it is blocked for ``limit`` seconds while requests run."""
    loops[app] = Loop(core, thread, limit)


def forget(app: int) -> None:
    """Stops watching an app that has been unloaded."""
    limits.pop(app, None)
    loops.pop(app, None)


def _check_loops() -> None:
    for app, loop in list(loops.items()):
        if not loop.core.inflight:
            continue  # a loop without requests may block
        silent = loop.core.probe()
        if silent < loop.limit:
            loop.reported = loop.reported and silent > 0
        elif not loop.reported:
            loop.reported = True
            stack = stacks.of_thread(loop.thread)
            text = f"event loop has been blocked for {silent:.1f} s; it is here:\n{stack}"
            logs.emit(logging.WARNING, "caddysnake", text, app)


def _check_all() -> None:
    patches.check(None)  # first, as the checks below call functions that an app may have replaced
    running = _caddysnake.wsgi_running()
    _reported.intersection_update({entry[2] for entry in running})
    _check(running)
    _check_loops()


def _watch() -> None:
    sleep = time.sleep
    while True:
        sleep(_INTERVAL)
        try:
            _check_all()
        except Exception as error:
            with contextlib.suppress(Exception):
                logs.emit(logging.ERROR, "caddysnake", logs.format_exception(error))


def start() -> None:
    """Starts the watchdog's thread."""
    threads.start_outside(_watch, "watchdog")
