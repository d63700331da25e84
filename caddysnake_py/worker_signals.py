"""The wait of a worker's main thread while other threads serve a WSGI application."""

from __future__ import annotations

import contextlib
import signal
import socket
from concurrent.futures import Future
from typing import TypeVar

T = TypeVar("T")


def wait(awaited: Future[T]) -> T:
    """Waits on the main thread, where handlers of signals run, and returns the result.

    Linux gives a signal that the process sends to itself to the thread that sends it, which would
    not wake a main thread that waits for a lock.
    """
    ours, wakeup = socket.socketpair()
    with ours, wakeup:
        wakeup.setblocking(False)
        before = signal.set_wakeup_fd(wakeup.fileno(), warn_on_full_buffer=False)
        if before != -1:  # the application has its own
            signal.set_wakeup_fd(before)

        def wake(_: Future[T]) -> None:
            with contextlib.suppress(OSError):  # it is full, so the thread wakes anyway
                wakeup.send(b"\0")

        awaited.add_done_callback(wake)
        with contextlib.suppress(OSError):  # the application has closed foreign descriptors
            while not awaited.done():
                ours.recv(4096)
        result = awaited.result()
        if before == -1:
            signal.set_wakeup_fd(-1)
        return result
