"""Handlers of ``logging`` that keep the level and the logger's name of a record in Caddy's log."""

from __future__ import annotations

import logging
from typing import Any, TextIO

from caddysnake_py import logs


class StreamOfLog:
    """A mixin for text streams whose lines become records of Caddy's log.

    Attributes:
        app: the app's id; None: the app of the writing thread.
    """

    app: int | None = None


class LastResort(logging.Handler):
    """Handles records of WARNING and above if no handler is configured."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.setFormatter(logging.Formatter("%(message)s"))

    def emit(self, record: logging.LogRecord) -> None:
        try:
            logs.emit(record.levelno, record.name, self.format(record))
        except Exception:
            self.handleError(record)


_emit_to_stream = logging.StreamHandler.emit


def emit_record(self: logging.StreamHandler[TextIO], record: logging.LogRecord) -> None:
    """Replaces ``StreamHandler.emit``: keeps the record's level and logger name if the stream is
    one of Caddy's log."""
    stream = self.stream
    if not isinstance(stream, StreamOfLog):
        _emit_to_stream(self, record)
        return
    try:
        logs.emit(record.levelno, record.name, self.format(record), stream.app)
    except Exception:
        self.handleError(record)


def install(last_resort: LastResort) -> None:
    """Makes ``logging`` write to Caddy's log by default."""
    module: Any = logging
    module.lastResort = last_resort
    module.StreamHandler.emit = emit_record
