"""The control socket of a worker: messages to and from Caddy.

Each message is one JSON object in one packet, with descriptors beside it where docs/decisions/0060,
which lists the messages, says so. A packet is sent whole or not at all, so threads, and children
that the application forks, need no lock.
"""

from __future__ import annotations

import array
import contextlib
import dataclasses
import fcntl
import json
import os
import socket
from collections.abc import Sequence
from typing import Any

_MAX_MESSAGE = 128 << 10  # bytes
_MAX_TEXT = 48 << 10  # bytes; JSON needs up to two for one, since control characters are escaped
_MAX_DESCRIPTORS = 8
_SEALS = fcntl.F_SEAL_WRITE | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW
_INT = array.array("i").itemsize


@dataclasses.dataclass(slots=True)
class Message:
    """A message from Caddy.

    Attributes:
        fields: the JSON object; ``op`` names the message.
        files: descriptors that came with it; they belong to the receiver.
    """

    fields: dict[str, Any]
    files: list[int]

    @property
    def op(self) -> str:
        return str(self.fields["op"])

    def content(self) -> dict[str, Any]:
        """Returns the JSON object in the first of the files, and closes that file."""
        with open(self.files.pop(0), "rb") as file:
            file.seek(0)
            content: dict[str, Any] = json.load(file)
            return content


def shorten(text: bytes) -> str:
    """Decodes a text in UTF-8. Leaves out the middle if it does not fit into a message: the end of
    a traceback says most."""
    if len(text) <= _MAX_TEXT:
        return text.decode("utf-8", "replace")
    half = _MAX_TEXT // 2
    gap = f"\n[{len(text) - 2 * half} bytes are left out]\n"
    return text[:half].decode("utf-8", "ignore") + gap + text[-half:].decode("utf-8", "ignore")


class Control:
    """The worker's end of the socket."""

    def __init__(self, fd: int) -> None:
        self._socket = socket.socket(fileno=fd)

    def fileno(self) -> int:
        return self._socket.fileno()

    def close(self) -> None:
        self._socket.close()

    def receive(self) -> Message | None:
        """Waits for a message; returns None once Caddy is gone."""
        try:
            # Not socket.recv_fds: it drops its flags, and programs would inherit the descriptors.
            data, rights, flags, _ = self._socket.recvmsg(
                _MAX_MESSAGE,
                socket.CMSG_SPACE(_MAX_DESCRIPTORS * _INT),
                socket.MSG_CMSG_CLOEXEC,
            )
        except ConnectionResetError:
            return None
        if not data:
            return None
        if flags & (socket.MSG_TRUNC | socket.MSG_CTRUNC):
            raise ValueError("a message on the control socket is too long")
        files = array.array("i")
        for level, kind, content in rights:
            if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
                files.frombytes(content[: len(content) // _INT * _INT])
        return Message(json.loads(data), files.tolist())

    def send(self, op: str, files: Sequence[int] = (), **fields: Any) -> None:
        """Sends a message. It is lost if Caddy is gone."""
        data = json.dumps({"op": op, **fields}, ensure_ascii=False).encode()
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            socket.send_fds(self._socket, [data], files)

    def send_long(self, op: str, content: str, **fields: Any) -> None:
        """Sends a message with content that may not fit into a packet: in a file in memory that
        nobody can change."""
        fd = os.memfd_create(op, os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
        with open(fd, "wb") as file:
            file.write(content.encode())
            file.flush()
            fcntl.fcntl(fd, fcntl.F_ADD_SEALS, _SEALS)
            self.send(op, [fd], **fields)

    def send_text(self, op: str, name: str, text: str) -> None:
        """Sends a message with one text, which is shortened to fit."""
        fields = {name: shorten(text.encode("utf-8", "backslashreplace"))}
        self.send(op, (), **fields)

    def log(self, level: int, _app: int, source: str, message: bytes, ids: str) -> None:
        """Sends a record for Caddy's log: replaces `logs.Sink.write`."""
        name = source.encode("utf-8", "replace")[:256].decode("utf-8", "ignore")
        level = max(0, min(level, 100))
        self.send("log", level=level, source=name, message=shorten(message), ids=ids)
