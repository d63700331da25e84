"""Per-app ``sys.stdout`` and ``sys.stderr``; each complete line becomes a log record.

CPython's C code reads ``sys.stdout`` from the dict of ``sys``, without attribute access. That dict
holds a `Router`, which passes text on to the stream of the current app.

Nothing here takes a lock: the garbage collector may run during a write, and call a ``__del__``
method that prints.
"""

from __future__ import annotations

import contextlib
import io
import logging
import os
import sys
import threading
from typing import Any

import _caddysnake

from caddysnake_py import logs
from caddysnake_py.layers import AppView
from caddysnake_py.log_handlers import StreamOfLog

# Bytes. Longer lines are split, so that a line without an end cannot exhaust the memory.
_LINE_LIMIT = 1 << 20
_TRACEBACK = b"Traceback (most recent call last):"


def _split(text: bytes) -> tuple[list[bytes], bytes]:
    """Splits text into complete messages and the unfinished rest. A traceback is one message."""
    messages: list[bytes] = []
    lines = text.split(b"\n")
    rest = lines.pop()
    block: list[bytes] = []  # the lines of an unfinished traceback
    for line in lines:
        if block or line == _TRACEBACK:
            block.append(line)
            # The first line after the header that is not indented ends the traceback.
            if len(block) > 1 and line and not line.startswith(b" "):
                messages.append(b"\n".join(block))
                block = []
        elif line:
            messages.append(line.rstrip(b"\r"))
    if block:
        rest = b"\n".join([*block, rest])
    while len(rest) > _LINE_LIMIT:
        messages.append(rest[:_LINE_LIMIT])
        rest = rest[_LINE_LIMIT:]
    return messages, rest


class _Partial:
    """The unfinished line of a thread: its pieces and their size in bytes."""

    def __init__(self) -> None:
        self.pieces: list[bytes] = []
        self.size = 0


class Lines:
    """Turns the lines written to one of the two streams into log records.

    Attributes:
        source: ``"stdout"`` or ``"stderr"``.
        fd: the file descriptor of the stream in C code.
    """

    def __init__(self, source: str, fd: int, level: int) -> None:
        self.source = source
        self.fd = fd
        self._level = level
        self._keeps_partial = True
        # By app and thread. Each access is one atomic operation of a dict or list: between two
        # operations, a destructor may write.
        self._partial: dict[tuple[int, int], _Partial] = {}

    def start_in_child(self) -> None:
        """Drops unfinished lines in a forked child: the parent's threads will complete them."""
        self._partial.clear()
        self._keeps_partial = False

    def write(self, app: int, data: bytes) -> None:
        """Adds a piece of text, encoded in UTF-8, and emits the lines that it completes."""
        key = (app, threading.get_ident())
        partial = self._partial.setdefault(key, _Partial())
        partial.pieces.append(data)
        partial.size += len(data)
        if b"\n" not in data and partial.size <= _LINE_LIMIT:
            return
        taken = self._partial.pop(key, None)
        messages, rest = _split(b"".join(taken.pieces if taken else ()))
        if rest:  # before text that destructors have written meanwhile
            partial = self._partial.setdefault(key, _Partial())
            partial.pieces.insert(0, rest)
            partial.size += len(rest)
        for message in messages:
            self._emit(message, app)

    def flush(self) -> None:
        """Does nothing in the server: a record is a whole line. A forked child emits unfinished
        lines."""
        if not self._keeps_partial:
            self.close_partial()

    def close_partial(self, app: int | None = None) -> None:
        """Emits the unfinished lines of an app; by default those of all apps."""
        for key in self._partial.copy():
            if app is None or key[0] == app:
                taken = self._partial.pop(key, None)
                if taken is not None:
                    self._emit(b"".join(taken.pieces).rstrip(b"\n"), key[0])

    def _emit(self, message: bytes, app: int) -> None:
        logs.emit(self._level, self.source, message.decode("utf-8", "backslashreplace"), app)


class _Binary(io.BufferedIOBase):
    """The attribute ``buffer`` of a stream.

    Attributes:
        encoding: the encoding of the bytes that are written.
    """

    mode = "wb"

    def __init__(self, lines: Lines, app: int | None) -> None:
        self._lines = lines
        self._app = app
        self._fd = -1
        self.encoding = "utf-8"
        self.name = f"<{lines.source}>"

    @property
    def raw(self) -> _Binary:
        return self

    def writable(self) -> bool:
        return True

    def fileno(self) -> int:
        """Returns a duplicate of the server's descriptor, which the app may close."""
        self._check_open()
        if self._app is None:
            return self._lines.fd
        if self._fd < 0 or not self._is_same_file():
            self._fd = os.dup(self._lines.fd)
        return self._fd

    def _is_same_file(self) -> bool:
        try:
            return os.path.sameopenfile(self._fd, self._lines.fd)
        except OSError:
            return False

    def isatty(self) -> bool:
        self._check_open()
        return False

    def write(self, data: Any) -> int:
        self._check_open()
        if isinstance(data, str):
            raise TypeError("a bytes-like object is required, not 'str'")
        raw = bytes(memoryview(data))
        app = _caddysnake.current_app() if self._app is None else self._app
        if self.encoding == "utf-8":
            self._lines.write(app, raw)
        else:
            text = raw.decode(self.encoding, "backslashreplace")
            self._lines.write(app, text.encode("utf-8", "backslashreplace"))
        return len(raw)

    def flush(self) -> None:
        self._check_open()
        self._lines.flush()

    def close(self) -> None:
        if not self.closed:
            super().close()
            if self._fd >= 0:
                with contextlib.suppress(OSError):
                    if self._is_same_file():
                        os.close(self._fd)

    def _check_open(self) -> None:
        if self.closed:
            raise ValueError("I/O operation on closed file.")


class LogStream(StreamOfLog, io.TextIOWrapper):
    """``sys.stdout`` or ``sys.stderr`` of one app, or of the server. Each complete line becomes a
    log record, and a printed traceback becomes one record."""

    def __init__(self, lines: Lines, app: int | None = None) -> None:
        # write_through: several threads share the wrapper, so it must not buffer text.
        super().__init__(
            _Binary(lines, app), "utf-8", "backslashreplace", newline="\n", write_through=True
        )
        self.app = app
        self.mode = "w"  # type: ignore[misc]

    def reconfigure(self, **options: Any) -> None:
        options["write_through"] = True
        super().reconfigure(**options)
        self.buffer.encoding = self.encoding.lower()  # type: ignore[attr-defined]


class Router(StreamOfLog, io.TextIOBase):
    """The stream in the dict of ``sys``, for the server and CPython's C code: delegates to the
    stream of the current app.

    If the app has replaced its stream, ``write`` and ``flush`` go to the replacement. All other
    attributes are those of the app's original stream.
    """

    def __init__(self, lines: Lines) -> None:
        self._lines = lines
        self.source = lines.source
        self._name = f"sys.{lines.source}"
        self._of_server = LogStream(lines)
        self._writing: set[int] = set()  # threads that are executing a replacement

    def own(self) -> LogStream:
        """Returns the original stream of the current app."""
        view = _caddysnake.current_view()
        if not isinstance(view, AppView):
            return self._of_server
        stream: LogStream | None = view.streams.get(self._name)
        if stream is None:
            stream = LogStream(self._lines, view.app)
        return view.streams.setdefault(self._name, stream)  # type: ignore[no-any-return]

    def _call(self, method: str, *args: Any) -> Any:
        view = _caddysnake.current_view()
        thread = threading.get_ident()
        if not isinstance(view, AppView) or self._name not in view.settings:
            return getattr(self.own(), method)(*args)
        # The replacement may write to this router in turn, as shared packages hold the router.
        if thread in self._writing:
            return getattr(self.own(), method)(*args)
        replacement = view.settings[self._name]
        if replacement is None:
            return None
        self._writing.add(thread)
        try:
            return getattr(replacement, method)(*args)
        finally:
            self._writing.discard(thread)

    def write(self, text: str) -> Any:
        return self._call("write", text)

    def flush(self) -> None:
        self._call("flush")

    def fileno(self) -> int:
        return self._lines.fd

    def close(self) -> None:
        """Does nothing: a shared package must not close the stream of all applications."""


def _delegated(name: str) -> property:
    return property(lambda router: getattr(router.own(), name))


for _name in dir(io.TextIOWrapper):
    if not _name.startswith("_") and _name not in Router.__dict__:
        setattr(Router, _name, _delegated(_name))
Router.mode = _delegated("mode")  # type: ignore[attr-defined]


_stdout = Lines("stdout", 1, logging.INFO)
_stderr = Lines("stderr", 2, logging.ERROR)
stdout = Router(_stdout)
stderr = Router(_stderr)


def close_partial(app: int) -> None:
    """Emits the unfinished lines of an app that is being unloaded."""
    _stdout.close_partial(app)
    _stderr.close_partial(app)


def _start_in_child() -> None:
    _stdout.start_in_child()
    _stderr.start_in_child()


def install() -> None:
    """Redirects ``sys.stdout`` and ``sys.stderr`` to the log."""
    sys.stdout = stdout
    sys.stderr = stderr
    os.register_at_fork(after_in_child=_start_in_child)
