"""``wsgi.input`` for a streamed request body."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any

_BUFFER = 64 * 1024


class _Chunks(io.RawIOBase):
    """A raw stream over ``read``, which returns the next chunk, and ``b""`` at the end of the
    body."""

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

    Its methods raise ``BrokenPipeError`` if the client disconnects before the body is complete, and
    ``OSError`` if the body is larger than the server allows.

    Args:
        read: returns the next chunk of the body; ``b""`` at its end.
    """
    return io.BufferedReader(_Chunks(read), _BUFFER)
