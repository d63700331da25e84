"""``sys.stdout`` and ``sys.stderr``: each app has its own, and whole lines become log records.

Python's C code reads ``sys.stdout`` from the dict of ``sys``, past any attribute access. There it
finds a `Router`, which passes text on to the stream of the current app.

Nothing here takes a lock: the collector may run in the middle of a write, and with it a
``__del__`` that prints.
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

# A line that never ends is cut here, so that it cannot fill the memory.
_LINE_LIMIT = 1 << 20
_TRACEBACK = b"Traceback (most recent call last):"


def _split(text: bytes) -> tuple[list[bytes], bytes]:
    """Cuts text into whole messages and the unfinished rest."""
    messages: list[bytes] = []
    lines = text.split(b"\n")
    rest = lines.pop()
    block: list[bytes] = []  # a traceback that has begun
    for line in lines:
        if block or line == _TRACEBACK:
            block.append(line)
            # It ends with the first line that is neither indented nor its beginning.
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
    """What a thread has written of a line that has not ended."""

    def __init__(self) -> None:
        self.pieces: list[bytes] = []
        self.size = 0


class Lines:
    """Makes log records of what is written to one of the two streams.

    Attributes:
        source: ``"stdout"`` or ``"stderr"``.
        fd: the descriptor that C code uses for it.
    """

    def __init__(self, source: str, fd: int, level: int) -> None:
        self.source = source
        self.fd = fd
        self._level = level
        self._keeps_partial = True
        # By app and thread. Every step on it is one operation of a dict or list: between two of
        # them, destructors may write.
        self._partial: dict[tuple[int, int], _Partial] = {}

    def start_in_child(self) -> None:
        """Forgets the parent's threads: lines that they have begun are theirs."""
        self._partial.clear()
        self._keeps_partial = False

    def write(self, app: int, data: bytes) -> None:
        """Takes a piece of text in UTF-8."""
        key = (app, threading.get_ident())
        partial = self._partial.setdefault(key, _Partial())
        partial.pieces.append(data)
        partial.size += len(data)
        if b"\n" not in data and partial.size <= _LINE_LIMIT:
            return
        taken = self._partial.pop(key, None)
        messages, rest = _split(b"".join(taken.pieces if taken else ()))
        if rest:  # before what destructors have begun meanwhile
            partial = self._partial.setdefault(key, _Partial())
            partial.pieces.insert(0, rest)
            partial.size += len(rest)
        for message in messages:
            self._emit(message, app)

    def flush(self) -> None:
        """Keeps partial lines: a record is a whole line. A forked child writes them."""
        if not self._keeps_partial:
            self.close_partial()

    def close_partial(self, app: int | None = None) -> None:
        """Writes what an app, or any, has left without an end of line."""
        for key in self._partial.copy():
            if app is None or key[0] == app:
                taken = self._partial.pop(key, None)
                if taken is not None:
                    self._emit(b"".join(taken.pieces).rstrip(b"\n"), key[0])

    def _emit(self, message: bytes, app: int) -> None:
        logs.emit(self._level, self.source, message.decode("utf-8", "backslashreplace"), app)


class _Binary(io.BufferedIOBase):
    """``stream.buffer``.

    Attributes:
        encoding: of what is written.
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
        """A descriptor of the app's own, which it may close without closing the server's."""
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


class LogStream(io.TextIOWrapper):
    """``sys.stdout`` or ``sys.stderr`` of one app, or of the server: each whole line becomes a
    record, and a traceback that is printed becomes one record too.

    Attributes:
        app: the app's id; None for whichever app the writing thread works for.
    """

    def __init__(self, lines: Lines, app: int | None = None) -> None:
        # Nothing is kept in the wrapper, which several threads share.
        super().__init__(
            _Binary(lines, app), "utf-8", "backslashreplace", newline="\n", write_through=True
        )
        self.app = app
        self.mode = "w"  # type: ignore[misc]

    def reconfigure(self, **options: Any) -> None:
        options["write_through"] = True
        super().reconfigure(**options)
        self.buffer.encoding = self.encoding.lower()  # type: ignore[attr-defined]


class Router(io.TextIOBase):
    """What the server and Python's C code have for a stream: writes to that of the current app.

    If the app has replaced it, ``write`` and ``flush`` go to the replacement. Everything else is
    answered by the stream that the app was given at first.
    """

    def __init__(self, lines: Lines) -> None:
        self._lines = lines
        self.source = lines.source
        self._name = f"sys.{lines.source}"
        self._of_server = LogStream(lines)
        self._writing: set[int] = set()  # threads that are inside of a replacement

    def own(self) -> LogStream:
        """The stream that the current app was given at first."""
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
        # A replacement may write to us in turn: what shared packages have is the router.
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
        """Nothing: a shared package must not close what all applications write to."""


def _of_own(name: str) -> property:
    return property(lambda router: getattr(router.own(), name))


for _name in dir(io.TextIOWrapper):
    if not _name.startswith("_") and _name not in Router.__dict__:
        setattr(Router, _name, _of_own(_name))
Router.mode = _of_own("mode")  # type: ignore[attr-defined]


_stdout = Lines("stdout", 1, logging.INFO)
_stderr = Lines("stderr", 2, logging.ERROR)
stdout = Router(_stdout)
stderr = Router(_stderr)


def close_partial(app: int) -> None:
    """Writes the unfinished lines of an app that is being unloaded."""
    _stdout.close_partial(app)
    _stderr.close_partial(app)


def _start_in_child() -> None:
    _stdout.start_in_child()
    _stderr.start_in_child()


def install() -> None:
    """Points everything that Python prints to the log."""
    sys.stdout = stdout
    sys.stderr = stderr
    os.register_at_fork(after_in_child=_start_in_child)
