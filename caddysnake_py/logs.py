"""Everything that apps say, as records of Caddy's log with a level and the app's name."""

from __future__ import annotations

import io
import logging
import os
import sys
import threading
import traceback
import warnings
from collections.abc import Mapping
from typing import Any, TextIO

import _caddysnake

# A line that never ends is cut here, so that it cannot fill the memory.
_LINE_LIMIT = 1 << 20
_TRACEBACK = "Traceback (most recent call last):\n"


def emit(level: int, source: str, message: str, app: int | None = None) -> None:
    """Puts one record on Caddy's log.

    Args:
        level: one of the ``logging`` levels.
        source: name of the logger or stream.
        message: may have several lines.
        app: id of the app; the app of the current thread by default.
    """
    owner = _caddysnake.current_app() if app is None else app
    _caddysnake.log(level, owner, source, message.encode("utf-8", "backslashreplace"))


class LogStream(io.TextIOBase):
    """``sys.stdout`` or ``sys.stderr``: each whole line becomes a record.

    A traceback printed to it becomes one record too.
    """

    encoding = "utf-8"
    errors = "backslashreplace"

    def __init__(self, name: str, fd: int, level: int) -> None:
        self.name = name
        self.level = level
        self._fd = fd
        self._start()
        self.buffer = _Binary(self)

    def _start(self) -> None:
        self._lock = threading.Lock()
        self._partial: dict[tuple[int, int], str] = {}
        self._keeps_partial = True

    def start_in_child(self) -> None:
        """Forgets the parent's threads. What they hold or have begun is theirs."""
        self._start()
        self._keeps_partial = False

    def writable(self) -> bool:
        return True

    def fileno(self) -> int:
        return self._fd

    def isatty(self) -> bool:
        return False

    def write(self, text: str) -> int:
        if not isinstance(text, str):
            raise TypeError(f"write() argument must be str, not {type(text).__name__}")
        app = _caddysnake.current_app()
        key = (app, threading.get_ident())
        with self._lock:
            whole, rest = _split(self._partial.pop(key, "") + text)
            if rest:
                self._partial[key] = rest
        for message in whole:
            emit(self.level, self.name, message, app)
        return len(text)

    def flush(self) -> None:
        """Keeps partial lines: a record is a whole line. A forked child writes them."""
        if not self._keeps_partial:
            self.close_partial()

    def close_partial(self, app: int | None = None) -> None:
        """Writes what an app, or any, has left without an end of line."""
        with self._lock:
            keys = [key for key in self._partial if app is None or key[0] == app]
            rests = [self._partial.pop(key) for key in keys]
        for rest in rests:
            emit(self.level, self.name, rest.rstrip("\n"), app)


def _split(text: str) -> tuple[list[str], str]:
    """Cuts text into whole messages and the unfinished rest."""
    messages: list[str] = []
    lines = text.split("\n")
    rest = lines.pop()
    block: list[str] = []  # a traceback that has begun
    for line in lines:
        if block or line == _TRACEBACK[:-1]:
            block.append(line)
            # It ends with the first line that is neither indented nor its beginning.
            if len(block) > 1 and line and not line.startswith(" "):
                messages.append("\n".join(block))
                block = []
        elif line:
            messages.append(line.rstrip("\r"))
    if block:
        rest = "\n".join([*block, rest])
    while len(rest) > _LINE_LIMIT:
        messages.append(rest[:_LINE_LIMIT])
        rest = rest[_LINE_LIMIT:]
    return messages, rest


class _Binary(io.RawIOBase):
    """``stream.buffer``: bytes are taken as UTF-8."""

    def __init__(self, text: LogStream) -> None:
        self._text = text

    def writable(self) -> bool:
        return True

    def fileno(self) -> int:
        return self._text.fileno()

    def write(self, data: Any) -> int:
        raw = bytes(data)
        self._text.write(raw.decode("utf-8", "backslashreplace"))
        return len(raw)


class _LastResort(logging.Handler):
    """Used by ``logging`` when the app has configured no handler: WARNING and above."""

    def emit(self, record: logging.LogRecord) -> None:
        try:
            emit(record.levelno, record.name, self.format(record))
        except Exception:
            self.handleError(record)


_emit_to_stream = logging.StreamHandler.emit


def _emit_record(self: logging.StreamHandler[TextIO], record: logging.LogRecord) -> None:
    """``StreamHandler.emit`` that keeps level and logger when the stream is ours."""
    if not isinstance(self.stream, LogStream):
        _emit_to_stream(self, record)
        return
    try:
        emit(record.levelno, record.name, self.format(record))
    except Exception:
        self.handleError(record)


def _show_warning(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: TextIO | None = None,
    line: str | None = None,
) -> None:
    text = warnings.formatwarning(message, category, filename, lineno, line)
    if file is not None:
        file.write(text)
    else:
        emit(logging.WARNING, "py.warnings", text.rstrip("\n"))


def _thread_exception(args: threading.ExceptHookArgs) -> None:
    if args.exc_type is SystemExit or args.exc_value is None:
        return
    name = args.thread.name if args.thread else "?"
    emit(
        logging.ERROR,
        "threading",
        f"exception in thread {name}\n{format_exception(args.exc_value)}",
    )


def is_own(filename: str) -> bool:
    """Whether a frame's file belongs to this package, as its sources are named in the binary."""
    return filename.startswith("<caddysnake_py/")


def format_exception(exception: BaseException) -> str:
    """Returns the traceback as Python prints it, from the app's first frame on, without the
    final newline."""
    frames = exception.__traceback__
    while frames is not None and is_own(frames.tb_frame.f_code.co_filename):
        frames = frames.tb_next
    lines = traceback.format_exception(type(exception), exception, frames)
    return "".join(lines).rstrip("\n")


def _is_disconnect(exception: BaseException) -> bool:
    """Whether the exception only says that the client left: an ``OSError`` from ``send``,
    ``write`` or ``read``, what a framework made of it, a timeout that was logged, or a group of
    such."""
    name = type(exception).__name__
    if isinstance(exception, OSError) or name in ("ClientDisconnect", "RequestTimeout"):
        return True
    parts = getattr(exception, "exceptions", None)  # a group, which is new in Python 3.11
    if isinstance(parts, tuple) and parts:
        return all(_is_disconnect(part) for part in parts)
    before = exception.__cause__ or exception.__context__
    return before is not None and _is_disconnect(before)


def app_exception(
    app: int,
    exception: BaseException,
    kind: str,
    request: Mapping[str, Any] | None,
    client_left: bool = False,
) -> bool:
    """Logs an exception that left an app: the core's error hook. False if it is no error.

    Args:
        app: the app's id.
        exception: what was raised.
        kind: ``"WSGI"``, ``"ASGI"`` or what the core was doing.
        request: the environ or scope, if there is one.
        client_left: the app knows that its client left; an exception because of that is no error.
    """
    where = kind
    if kind in ("WSGI", "ASGI"):
        where = f"{kind} application"
    what = ""
    if request is not None:
        method = request.get("REQUEST_METHOD") or request.get("method") or request.get("type", "")
        path = request.get("REQUEST_URI") or request.get("path") or ""
        what = f" ({method} {path})"
    message = f"exception in {where}{what}\n{format_exception(exception)}"
    is_error = not (client_left and _is_disconnect(exception))
    emit(logging.ERROR if is_error else logging.DEBUG, "caddysnake", message, app)
    return is_error


stdout = LogStream("stdout", 1, logging.INFO)
stderr = LogStream("stderr", 2, logging.ERROR)


def close_partial(app: int) -> None:
    """Writes the unfinished lines of an app that is being unloaded."""
    stdout.close_partial(app)
    stderr.close_partial(app)


def _start_in_child() -> None:
    stdout.start_in_child()
    stderr.start_in_child()


def install() -> None:
    """Points everything that Python prints to the log."""
    sys.stdout = stdout
    sys.stderr = stderr
    os.register_at_fork(after_in_child=_start_in_child)
    last_resort = _LastResort(logging.WARNING)
    last_resort.setFormatter(logging.Formatter("%(message)s"))
    logging.lastResort = last_resort
    logging.StreamHandler.emit = _emit_record  # type: ignore[method-assign, assignment]
    warnings.showwarning = _show_warning
    threading.excepthook = _thread_exception
