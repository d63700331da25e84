"""A websocket client at the level of frames (RFC 6455 section 5), which may break the rules."""

from __future__ import annotations

import base64
import os
import struct
from collections.abc import Iterable
from dataclasses import dataclass

from harness.http1 import Connection, Header, Response
from harness.server import Server

TEXT, BINARY, CLOSE, PING, PONG = 1, 2, 8, 9, 10
KEY = base64.b64encode(bytes(range(16))).decode()
HANDSHAKE: list[Header] = [
    ("Connection", "Upgrade"),
    ("Upgrade", "websocket"),
    ("Sec-WebSocket-Version", "13"),
    ("Sec-WebSocket-Key", KEY),
]


@dataclass
class Frame:
    """A frame from the server."""

    opcode: int
    payload: bytes
    fin: bool = True
    rsv: int = 0

    @property
    def code(self) -> int | None:
        """Of a close frame."""
        return struct.unpack("!H", self.payload[:2])[0] if self.payload else None

    @property
    def reason(self) -> str:
        return self.payload[2:].decode()


class WebSocket:
    """A connection on which the server was asked for a websocket. `refusal` is what it answered
    if it did not agree."""

    def __init__(
        self, server: Server, target: str, headers: Iterable[Header] = (), **options: int
    ) -> None:
        self.connection: Connection = server.connect(**options)
        self.socket = self.connection.socket
        self.connection.request_head("GET", target, [*HANDSHAKE, *headers])
        self._buffer = bytearray()
        self.headers: list[Header] = []
        self.refusal: Response | None = None
        head = self._read_until(b"\r\n\r\n")
        status, *lines = head.decode("latin-1").split("\r\n")[:-2]
        if " 101 " in status:
            self.headers = [(n.lower(), v.strip()) for n, _, v in (x.partition(":") for x in lines)]
        else:
            self.connection._buffer = head + bytes(self._buffer)
            self.refusal = self.connection.response()

    def __enter__(self) -> WebSocket:
        return self

    def __exit__(self, *_: object) -> None:
        self.connection.close()

    def all(self, name: str) -> list[str]:
        return [value for known, value in self.headers if known == name]

    def send(
        self,
        opcode: int,
        payload: bytes = b"",
        *,
        fin: bool = True,
        rsv: int = 0,
        masked: bool = True,
        length: int | None = None,
    ) -> None:
        """Sends a frame. `length` is claimed in place of the payload's own."""
        n = len(payload) if length is None else length
        bit = 0x80 if masked else 0
        head = bytes([(0x80 if fin else 0) | rsv << 4 | opcode])
        if n < 126:
            head += bytes([bit | n])
        elif n < 1 << 16:
            head += struct.pack("!BH", bit | 126, n)
        else:
            head += struct.pack("!BQ", bit | 127, n)
        mask = os.urandom(4) if masked else b""
        if masked and payload:
            key = int.from_bytes((mask * (len(payload) // 4 + 1))[: len(payload)], "big")
            payload = (int.from_bytes(payload, "big") ^ key).to_bytes(len(payload), "big")
        self.socket.sendall(head + mask + payload)

    def text(self, text: str) -> None:
        self.send(TEXT, text.encode())

    def close(self, code: int | None = None, reason: str = "") -> None:
        payload = b"" if code is None else struct.pack("!H", code) + reason.encode()
        self.send(CLOSE, payload)

    def receive(self) -> Frame:
        """The next frame; EOFError when the connection has ended."""
        first, second = self._read(2)
        n = second & 0x7F
        if n == 126:
            n = struct.unpack("!H", self._read(2))[0]
        elif n == 127:
            n = struct.unpack("!Q", self._read(8))[0]
        assert not second & 0x80, "a frame from a server is not masked"
        return Frame(first & 15, self._read(n), bool(first & 0x80), first >> 4 & 7)

    def has_ended(self) -> bool:
        """Whether nothing but the end of the connection follows."""
        try:
            return not self._buffer and not self.socket.recv(1)
        except ConnectionResetError:
            return True

    def _read(self, n: int) -> bytes:
        while len(self._buffer) < n:
            self._fill()
        data = bytes(self._buffer[:n])
        del self._buffer[:n]
        return data

    def _read_until(self, mark: bytes) -> bytes:
        while mark not in self._buffer:
            self._fill()
        end = self._buffer.index(mark) + len(mark)
        return self._read(end)

    def _fill(self) -> None:
        data = self.socket.recv(65536)
        if not data:
            raise EOFError
        self._buffer += data
