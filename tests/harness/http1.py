"""A raw HTTP/1.1 client: sends the bytes it is given and sees how a response ends.

Ordinary clients tidy up what they send and hide how an answer broke. This one does neither.
"""

from __future__ import annotations

import socket
import ssl
import struct
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from harness.ports import HOST
from harness.settings import PATIENCE

Header = tuple[str, str]


class Broken(Exception):
    """The response did not end as its own framing says it must."""


@dataclass
class Head:
    """A status line and headers, decoded as latin-1, names in lower case and in order."""

    version: str
    status: int
    reason: str
    headers: list[Header]

    def all(self, name: str) -> list[str]:
        return [value for key, value in self.headers if key == name.lower()]

    def get(self, name: str) -> str | None:
        values = self.all(name)
        return values[0] if values else None


@dataclass
class Response(Head):
    """A whole response, or what came of it before it broke."""

    body: bytes = b""
    broken: str | None = None
    interim: list[int] = field(default_factory=list)

    @property
    def text(self) -> str:
        return self.body.decode()


def client_tls(protocols: Iterable[str] = ("http/1.1",)) -> ssl.SSLContext:
    """A context that trusts the throw-away certificate of the server under test.

    `create_default_context` would read all authorities of the machine, which takes 40 ms.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.set_alpn_protocols(list(protocols))
    return context


def send_at_once(connection: socket.socket) -> None:
    """Lets no small packet wait for the server to acknowledge the one before, which takes 40 ms."""
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)


class Connection:
    """One connection. `timeout` bounds each wait for bytes, so that a hang is a failure."""

    def __init__(
        self,
        port: int,
        *,
        tls: bool = False,
        timeout: float = 10.0,
        receive_buffer: int | None = None,
        server_name: str = "localhost",
    ) -> None:
        raw = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        if receive_buffer is not None:
            # Before connecting, for the window is agreed on then.
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        raw.settimeout(timeout * PATIENCE)
        raw.connect((HOST, port))
        send_at_once(raw)
        self.socket = client_tls().wrap_socket(raw, server_hostname=server_name) if tls else raw
        self.port = port
        self._buffer = b""
        self._head: Head | None = None
        self._method = "GET"
        self._interim: list[int] = []

    def __enter__(self) -> Connection:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self.socket.close()

    def reset(self) -> None:
        """Leaves with a TCP reset instead of an orderly close."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.socket.close()

    # Sending

    def send(self, data: bytes) -> None:
        self.socket.sendall(data)

    def request(
        self,
        method: str,
        target: str,
        headers: Iterable[Header] = (),
        body: bytes | Iterable[bytes] | None = None,
        *,
        version: str = "HTTP/1.1",
        length: int | None = None,
    ) -> None:
        """Sends a request. An iterable body goes chunked, unless its `length` is given."""
        self.request_head(method, target, headers, body, version=version, length=length)
        if isinstance(body, bytes):
            self.send(body)
        elif body is not None:
            for part in body:
                self.send(part if length is not None else b"%x\r\n%b\r\n" % (len(part), part))
            if length is None:
                self.send(b"0\r\n\r\n")

    def request_head(
        self,
        method: str,
        target: str,
        headers: Iterable[Header] = (),
        body: object = None,
        *,
        version: str = "HTTP/1.1",
        length: int | None = None,
    ) -> None:
        lines = [f"{method} {target} {version}"]
        lines += [f"{name}: {value}" for name, value in headers]
        if not any(line.startswith("Host:") for line in lines):
            lines.insert(1, f"Host: {HOST}:{self.port}")
        if length is None and isinstance(body, bytes):
            length = len(body)
        if length is not None:
            lines.append(f"Content-Length: {length}")
        elif body is not None:
            lines.append("Transfer-Encoding: chunked")
        self._method = method
        self.send("\r\n".join([*lines, "", ""]).encode("latin-1"))

    # Receiving

    def head(self) -> Head:
        """The final head. Statuses of interim responses before it go to `interim`."""
        self._interim = []
        while True:
            head = self._parse_head()
            if head.status >= 200 or head.status == 101:
                self._head = head
                return head
            self._interim.append(head.status)

    def interim_head(self) -> Head:
        """The next head, whatever its status."""
        return self._parse_head()

    def chunks(self) -> Iterator[bytes]:
        """The pieces of the body as they arrive. Raises Broken where the response breaks."""
        head = self._head
        assert head is not None, "read the head first"
        if self._method == "HEAD" or head.status in (204, 304):
            return
        if "chunked" in (head.get("transfer-encoding") or ""):
            yield from self._chunked()
        elif (length := head.get("content-length")) is not None:
            yield from self._sized(int(length))
        else:
            yield from self._to_the_end()

    def response(self) -> Response:
        """Reads one response to its end, however that looks."""
        head = self.head()
        response = Response(
            head.version, head.status, head.reason, head.headers, interim=self._interim
        )
        pieces = []
        try:
            for piece in self.chunks():
                pieces.append(piece)
        except Broken as broken:
            response.broken = str(broken)
        response.body = b"".join(pieces)
        return response

    def is_closed(self) -> bool:
        """Waits for the server to close the connection; False if it sends something instead."""
        if self._buffer:
            return False
        try:
            return self.socket.recv(1) == b""
        except ConnectionError:
            return True

    def _receive(self) -> bytes:
        try:
            data: bytes = self.socket.recv(65536)
        except ConnectionError as error:
            raise Broken(f"reset by the server: {error}") from error
        except ssl.SSLError as error:
            raise Broken(f"TLS broke: {error}") from error
        return data

    def _parse_head(self) -> Head:
        lines = self._read_until(b"\r\n\r\n").decode("latin-1").split("\r\n")
        version, status, reason = [*lines[0].split(" ", 2), ""][:3]
        headers = []
        for line in lines[1:]:
            name, _, value = line.partition(":")
            headers.append((name.lower(), value.strip(" \t")))
        return Head(version, int(status), reason, headers)

    def _read_until(self, mark: bytes) -> bytes:
        while mark not in self._buffer:
            data = self._receive()
            if not data:
                raise Broken(f"closed with {self._buffer!r} where {mark!r} was awaited")
            self._buffer += data
        found, _, self._buffer = self._buffer.partition(mark)
        return found

    def _sized(self, size: int) -> Iterator[bytes]:
        while size:
            data, self._buffer = self._buffer, b""
            data = data or self._receive()
            if not data:
                raise Broken(f"closed {size} bytes short of its Content-Length")
            piece, self._buffer = data[:size], data[size:]
            size -= len(piece)
            yield piece

    def _chunked(self) -> Iterator[bytes]:
        while True:
            size = int(self._read_until(b"\r\n").partition(b";")[0], 16)
            if size == 0:
                while self._read_until(b"\r\n"):
                    pass  # Trailers.
                return
            piece = b"".join(self._sized(size))
            self._read_until(b"\r\n")
            yield piece

    def _to_the_end(self) -> Iterator[bytes]:
        piece, self._buffer = self._buffer, b""
        while piece or (piece := self._receive()):
            yield piece
            piece = b""


def request(
    port: int,
    method: str,
    target: str,
    headers: Iterable[Header] = (),
    body: bytes | Iterable[bytes] | None = None,
    *,
    version: str = "HTTP/1.1",
    length: int | None = None,
    tls: bool = False,
    timeout: float = 10.0,
) -> Response:
    """One request on a connection of its own."""
    with Connection(port, tls=tls, timeout=timeout) as connection:
        connection.request(method, target, headers, body, version=version, length=length)
        return connection.response()


def sends_until_it_blocks(connection: Connection, limit: int, quiet: float = 1.0) -> int:
    """Sends zeros until the server takes no more for `quiet` seconds; how many bytes it took.

    Returns `limit` if the server never stopped reading.
    """
    sent = 0
    last = time.monotonic()
    piece = bytes(65536)
    connection.socket.setblocking(False)
    try:
        while sent < limit and time.monotonic() - last < quiet:
            try:
                sent += connection.socket.send(piece)
                last = time.monotonic()
            except BlockingIOError:
                time.sleep(0.01)
    finally:
        connection.socket.setblocking(True)
    return sent
