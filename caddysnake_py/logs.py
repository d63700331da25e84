"""Writes records to Caddy's log, with a level and the app's name."""

from __future__ import annotations

import importlib
import logging
import re
import traceback
from collections.abc import Callable, Mapping
from typing import Any

import _caddysnake

from caddysnake_py import request_ids

# Control characters, line separators, and characters that change the writing direction.
_CONTROLS = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")
# The start of a line that could be mistaken for a log record: one of JSON, or one that begins with
# a time, or one with tabs between its fields.
_LIKE_A_RECORD = re.compile(r"\n(?=[0-9{\[]|[^\s][^\n]*\t)")


class Sink:
    """Where records go: to a list of the core in Caddy's process, over the control socket in a
    worker.

    Attributes:
        write: called with the level, the app's id, the source, the message in UTF-8, and the ids
            of the request for which the code runs, see `request_ids`.
    """

    @staticmethod
    def _to_core(level: int, app: int, source: str, message: bytes, ids: str) -> None:
        _caddysnake.log(level, app, f"{source}\0{ids}" if ids else source, message)

    write: Callable[[int, int, str, bytes, str], None] = _to_core


def printable(text: str) -> str:
    """Escapes control characters other than tabs and newlines."""
    if text.isprintable():
        return text
    return _CONTROLS.sub(_escape, text.replace("\r\n", "\n"))


def _escape(found: re.Match[str]) -> str:
    code = ord(found[0])
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"


def one_line(text: object) -> str:
    """Escapes all control characters, for text that a client has sent."""
    return printable(str(text)).replace("\n", "\\n").replace("\t", "\\t")


def emit(
    level: int, source: str, message: str, app: int | None = None, ids: str | None = None
) -> None:
    """Writes one record to Caddy's log.

    Args:
        level: one of the ``logging`` levels.
        source: the name of the logger or stream.
        message: the text, of one or more lines. Caddy's console encoder writes it unescaped, so
            control characters are escaped here, and lines that look like a record are indented.
        app: the id of the app; by default the app of the current thread.
        ids: those of the request; by default the one for which this code runs.
    """
    owner = _caddysnake.current_app() if app is None else app
    if not message.isprintable():
        message = _LIKE_A_RECORD.sub("\n    ", printable(message))
    data = message.encode("utf-8", "backslashreplace")
    Sink.write(level, owner, source, data, request_ids.current() if ids is None else ids)


def is_own(filename: str) -> bool:
    """Returns whether the file name of a frame belongs to this package."""
    return filename.startswith("<caddysnake_py/")


def _leave_out_imports(found: traceback.TracebackException | None) -> None:
    """Removes the frames of the import system, as Python does for an ``import`` statement."""
    while found is not None:
        found.stack[:] = [frame for frame in found.stack if not _is_importing(frame.filename)]
        for part in getattr(found, "exceptions", None) or ():  # an ExceptionGroup
            _leave_out_imports(part)
        _leave_out_imports(found.__cause__)
        found = found.__context__


def _is_importing(filename: str) -> bool:
    return filename in (importlib.__file__, "<caddysnake_py/imports.py>") or filename.startswith(
        "<frozen importlib."
    )


def format_exception(exception: BaseException) -> str:
    """Returns the formatted traceback, without this package's frames at its beginning, without
    those of the import system and of its replacement, and without the final newline."""
    frames = exception.__traceback__
    while frames is not None and is_own(frames.tb_frame.f_code.co_filename):
        frames = frames.tb_next
    found = traceback.TracebackException(type(exception), exception, frames, compact=True)
    _leave_out_imports(found)
    text = "".join(found.format()).rstrip("\n")
    # A syntax error has a place even if no frame is left.
    return f"Traceback (most recent call last):\n{text}" if text.startswith(" ") else text


def _is_disconnect(exception: BaseException) -> bool:
    """Returns whether an exception only reports a disconnect: an ``OSError`` of ``send``, ``write``
    or ``read``, a framework's exception caused by one, a logged timeout, or a group of these."""
    name = type(exception).__name__
    if isinstance(exception, OSError) or name in ("ClientDisconnect", "RequestTimeout"):
        return True
    parts = getattr(exception, "exceptions", None)  # an ExceptionGroup, since Python 3.11
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
    """Logs an exception that an app did not handle: the core's error hook.

    Args:
        app: the app's id.
        exception: the exception.
        kind: ``"WSGI"``, ``"ASGI"``, or a description of what the core was doing.
        request: the environ or scope, if there is one.
        client_left: the app was told that its client disconnected; an exception caused by that is
            logged at DEBUG.

    Returns:
        False if the exception is not an error of the app.
    """
    where = kind
    if kind in ("WSGI", "ASGI"):
        where = f"{kind} application"
    what = ""
    if request is not None:
        method = request.get("REQUEST_METHOD") or request.get("method") or request.get("type", "")
        path = request.get("REQUEST_URI") or request.get("path") or ""
        what = f" ({one_line(method)} {one_line(path)})"
    message = f"exception in {where}{what}\n{format_exception(exception)}"
    is_error = not (client_left and _is_disconnect(exception))
    ids = request_ids.of(request) if app in request_ids.apps else ""
    emit(logging.ERROR if is_error else logging.DEBUG, "caddysnake", message, app, ids)
    return is_error
