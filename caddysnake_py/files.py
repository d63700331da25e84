"""``wsgi.file_wrapper``: finds responses that the kernel can send from a file."""

from __future__ import annotations

import io
import os
import stat
from wsgiref.util import FileWrapper

__all__ = ["FileWrapper", "plain_file"]


def plain_file(wrapper: FileWrapper) -> tuple[int, int, int] | None:
    """Returns (descriptor, offset, length), in bytes, of the data that the wrapper would yield;
    None unless that is the rest of a regular file, read in binary mode without a filter.

    The type must match exactly: ``gzip.GzipFile`` and similar objects have the descriptor of a file
    with different contents (PEP 3333, "Optional Platform-Specific File Handling"). The descriptor
    is a duplicate that the caller must close. It shares the file offset with the app's descriptor,
    so the caller must not move the offset.
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
        return None  # the end of the file, or a file of /proc, whose st_size is 0
    return os.dup(raw.fileno()), offset, length
