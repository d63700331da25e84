"""What Python does by itself with warnings and with exceptions of threads: one record each."""

from __future__ import annotations

import logging
import threading
import warnings
from typing import TextIO

from caddysnake_py import logs


def show_warning(
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
        logs.emit(logging.WARNING, "py.warnings", text.rstrip("\n"))


def thread_exception(args: threading.ExceptHookArgs) -> None:
    if args.exc_type is SystemExit or args.exc_value is None:
        return
    name = args.thread.name if args.thread else "?"
    text = f"exception in thread {name}\n{logs.format_exception(args.exc_value)}"
    logs.emit(logging.ERROR, "threading", text)
