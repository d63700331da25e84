"""``sys.stdout`` and ``sys.stderr`` of a worker: pipes to Caddy, which logs each line."""

from __future__ import annotations

import io
import sys
import threading
import warnings

from caddysnake_py import log_hooks
from caddysnake_py.log_handlers import LastResort, StreamOfLog, install


class _PipeStream(StreamOfLog, io.TextIOWrapper):
    """A text stream on descriptor 1 or 2."""


def _open(fd: int, name: str) -> _PipeStream:
    raw = io.FileIO(fd, "w", closefd=False)
    raw.name = name
    stream = _PipeStream(io.BufferedWriter(raw), "utf-8", "backslashreplace", line_buffering=True)
    stream.mode = "w"  # type: ignore[misc]
    return stream


def set_up() -> None:
    """Opens the streams, and makes ``logging`` write to Caddy's log by default."""
    sys.stdout = sys.__stdout__ = _open(1, "<stdout>")  # type: ignore[misc]
    sys.stderr = sys.__stderr__ = _open(2, "<stderr>")  # type: ignore[misc]
    install(LastResort())
    warnings.showwarning = log_hooks.show_warning
    threading.excepthook = log_hooks.thread_exception
