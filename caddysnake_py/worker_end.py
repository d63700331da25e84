"""The end of a worker: like that of a Python program, but not later than Caddy wants it."""

from __future__ import annotations

import logging
import os
import sys
import threading
from collections.abc import Callable

from caddysnake_py import cpython, jobs, logs

_THREADS_SECONDS = 5.0  # for the threads of the application


def _finish() -> None:
    """Ends Python, but for the objects that still exist: threads of the core may use them."""
    if cpython.run_exit_functions is not None:
        cpython.run_exit_functions()
    for stream in (sys.stdout, sys.stderr):
        if stream is not None:
            stream.flush()


def _names() -> list[str]:
    """Returns the names of the threads that delay the end."""
    main = threading.main_thread()
    return sorted(t.name for t in threading.enumerate() if not t.daemon and t is not main)


def _join(join: Callable[[], object], code: int) -> None:
    """Waits for threads that are no daemons. Ends the process if they take too long."""
    joined = threading.Event()
    turn = threading.Lock()

    def end_late() -> None:
        if joined.wait(_THREADS_SECONDS) or not turn.acquire(blocking=False):
            return
        text = (
            f"threads of an unloaded application go on: {', '.join(_names())}; they end with their "
            f"worker: end them in its lifespan shutdown, or in a function that it registers with "
            f"atexit"
        )
        logs.emit(logging.WARNING, "caddysnake", text)
        _finish()
        os._exit(code)

    threading.Thread(target=end_late, name="caddy-end", daemon=True).start()
    join()
    joined.set()
    turn.acquire()  # for ever, if the other thread has begun to end the process


def end(code: int) -> None:
    """Ends timers and schedulers, waits for threads, and runs the exit functions.

    Args:
        code: the exit code of the process, if this does not return.
    """
    jobs.end(threading.enumerate())
    if cpython.join_threads is not None:
        _join(cpython.join_threads, code)
    _finish()
