"""``wsgi.file_wrapper``: responses that are the rest of a file."""

from __future__ import annotations

import io
import os
import stat
from wsgiref.util import FileWrapper

__all__ = ["FileWrapper", "plain_file"]


def plain_file(wrapper: FileWrapper) -> tuple[int, int, int] | None:
    """Returns (descriptor, offset, length) of what the wrapper would yield, if the kernel can
    send that by itself: the rest of a regular file that is read in binary without a filter.

    The type must be exact, because objects such as ``gzip.GzipFile`` have the descriptor of a
    file with other contents (PEP 3333, "Optional Platform-Specific File Handling"). The
    descriptor is a new one that the caller must close. Its offset is the app's, and must not move.
    """
    file = wrapper.filelike
    raw = file.raw if type(file) is io.BufferedReader else file
    if type(raw) is not io.FileIO or not raw.readable():
        return None
    status = os.fstat(raw.fileno())
    if not stat.S_ISREG(status.st_mode):
        return None
    offset = file.tell()
    length = status.st_size - offset
    if length <= 0:
        return None  # the end, or a file such as those of /proc, which say that they are empty
    return os.dup(raw.fileno()), offset, length
