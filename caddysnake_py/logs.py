"""Records of Caddy's log, with a level and the app's name."""

from __future__ import annotations

import logging
import re
import traceback
from collections.abc import Mapping
from typing import Any

import _caddysnake

# What moves a terminal's cursor, colours it, ends a line or turns the direction of writing.
_CONTROLS = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")
# A line of a message that could pass for a record of a log: one of JSON, or one that begins with a
# time and has tabs between its parts.
_LIKE_A_RECORD = re.compile(r"\n(?=[0-9{\[]|[^\s][^\n]*\t)")


def printable(text: str) -> str:
    """Escapes control characters other than tabs and ends of lines."""
    if text.isprintable():
        return text
    return _CONTROLS.sub(_escape, text.replace("\r\n", "\n"))


def _escape(found: re.Match[str]) -> str:
    code = ord(found[0])
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"


def one_line(text: object) -> str:
    """The same for what a client has sent, which is one line."""
    return printable(str(text)).replace("\n", "\\n").replace("\t", "\\t")


def emit(level: int, source: str, message: str, app: int | None = None) -> None:
    """Puts one record on Caddy's log.

    Args:
        level: one of the ``logging`` levels.
        source: name of the logger or stream.
        message: may have several lines. Caddy's console encoder writes it as it is, so control
            characters are escaped, and lines that look like a record of their own are indented.
        app: id of the app; the app of the current thread by default.
    """
    owner = _caddysnake.current_app() if app is None else app
    if not message.isprintable():
        message = _LIKE_A_RECORD.sub("\n    ", printable(message))
    _caddysnake.log(level, owner, source, message.encode("utf-8", "backslashreplace"))


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
        what = f" ({one_line(method)} {one_line(path)})"
    message = f"exception in {where}{what}\n{format_exception(exception)}"
    is_error = not (client_left and _is_disconnect(exception))
    emit(logging.ERROR if is_error else logging.DEBUG, "caddysnake", message, app)
    return is_error
