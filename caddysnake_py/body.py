"""``wsgi.input`` over a streamed request body."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any

_BUFFER = 64 * 1024


class _Chunks(io.RawIOBase):
    """Raw reads from ``read``, which gives the next chunk and ``b""`` at the end of the body."""

    def __init__(self, read: Callable[[], bytes]) -> None:
        self._read = read
        self._rest = memoryview(b"")

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        if not self._rest:
            self._rest = memoryview(self._read())
        target = memoryview(buffer).cast("B")
        count = min(len(target), len(self._rest))
        target[:count] = self._rest[:count]
        self._rest = self._rest[count:]
        return count


def open_body(read: Callable[[], bytes]) -> io.BufferedReader:
    """Returns the file object for ``wsgi.input`` (PEP 3333, "Input and Error Streams").

    Its methods raise ``BrokenPipeError`` when the client goes away before the body is complete,
    and ``OSError`` when the body is larger than the server allows.
    """
    return io.BufferedReader(_Chunks(read), _BUFFER)
