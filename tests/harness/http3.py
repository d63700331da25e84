"""A small HTTP/3 client on aioquic that sees how streams end; `Connection2` for QUIC."""

from __future__ import annotations

import socket
import ssl
import time
from collections.abc import Callable

from aioquic.h3.connection import H3_ALPN, ErrorCode, H3Connection, H3Stream
from aioquic.h3.events import DataReceived, H3Event, HeadersReceived
from aioquic.quic.configuration import QuicConfiguration
from aioquic.quic.connection import QuicConnection
from aioquic.quic.events import ConnectionTerminated, HandshakeCompleted, StreamReset

from harness.http1 import Header
from harness.ports import HOST
from harness.streams import Stream, StreamClient

# What is sent at once of a large body; the server opens its window for more.
PIECE = 65536


class _Unchecked(H3Connection):
    """Tests also want to see what a server must not send; aioquic has no notion of HEAD here."""

    def _check_content_length(self, stream: H3Stream) -> None:
        pass


class Connection3(StreamClient):
    """`timeout` is from packet to packet."""

    version = "HTTP/3"

    def __init__(self, port: int, *, timeout: float = 10.0, host: str = "") -> None:
        super().__init__("https", f"{host or HOST}:{port}", timeout)
        self._closed: ConnectionTerminated | None = None
        self._connected = False
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.connect((HOST, port))
        configuration = QuicConfiguration(
            is_client=True,
            alpn_protocols=H3_ALPN,
            server_name=host or "localhost",
            verify_mode=ssl.CERT_NONE,
        )
        self._quic = QuicConnection(configuration=configuration)
        self._quic.connect((HOST, port), now=time.monotonic())
        self._h3 = _Unchecked(self._quic)
        self._await(lambda: self._connected, "the handshake")

    def close(self) -> None:
        """Sends CONNECTION_CLOSE: the counterpart of closing a TCP connection."""
        if self.socket.fileno() >= 0:
            self._quic.close(error_code=ErrorCode.H3_NO_ERROR)
            self._flush()
            self.socket.close()

    def send_head(self, number: int, fields: list[Header], *, end: bool) -> None:
        encoded = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in fields]
        self._h3.send_headers(number, encoded, end_stream=end)
        self._flush()

    def send_data(self, number: int, data: bytes, *, end: bool = False) -> None:
        """Queues data, which goes as fast as the server opens its window, unless it has answered
        already."""
        if not self.streams[number].is_over:
            self._h3.send_data(number, data, end_stream=end)
            self._flush()

    def send_all(self, number: int, data: bytes) -> None:
        """Sends data of any size; what the server sends meanwhile is taken in."""
        for offset in range(0, len(data), PIECE):
            self.send_data(number, data[offset : offset + PIECE])
            self._take_in_what_is_there()

    def cancel(self, number: int) -> None:
        """Wants no more of the response and sends no more of the request, as a browser does."""
        self._quic.stop_stream(number, ErrorCode.H3_REQUEST_CANCELLED)
        self.abort_body(number)

    def abort_body(self, number: int) -> None:
        """Ends only the client's side of the stream, with RESET_STREAM."""
        self._quic.reset_stream(number, ErrorCode.H3_REQUEST_CANCELLED)
        self._flush()

    def wait(self, number: int, condition: Callable[[Stream], bool]) -> Stream:
        """Takes in packets until the condition holds for the stream or the stream is over."""
        stream = self.streams[number]
        self._await(lambda: condition(stream) or stream.is_over, f"stream {number}")
        return stream

    def _next_number(self) -> int:
        return self._quic.get_next_available_stream_id()

    def _await(self, condition: Callable[[], bool], what: str) -> None:
        """`timeout` is from packet to packet."""
        heard = time.monotonic()
        self._flush()
        while not condition():
            if self._closed is not None:
                raise ConnectionError(f"the server closed the connection: {self._closed}")
            if self._take_in():
                heard = time.monotonic()
            elif time.monotonic() - heard > self._timeout:
                raise TimeoutError(f"nothing came for {what} in {self._timeout:g} s")

    def _take_in(self) -> bool:
        """Waits for a packet or a timer of QUIC's; True if a packet came."""
        now = time.monotonic()
        timer = self._quic.get_timer()
        self.socket.settimeout(max(0.001, min(timer - now if timer else 1.0, 1.0)))
        try:
            data = self.socket.recv(65536)
        except TimeoutError:
            data = b""
        now = time.monotonic()
        if data:
            self._quic.receive_datagram(data, self.socket.getpeername(), now)
        elif timer and timer <= now:
            self._quic.handle_timer(now)
        self._handle_events()
        self._flush()
        return bool(data)

    def _take_in_what_is_there(self) -> None:
        self.socket.settimeout(0)
        try:
            while data := self.socket.recv(65536):
                self._quic.receive_datagram(data, self.socket.getpeername(), time.monotonic())
        except BlockingIOError:
            pass
        self._handle_events()
        self._flush()

    def _handle_events(self) -> None:
        while (event := self._quic.next_event()) is not None:
            if isinstance(event, HandshakeCompleted):
                self._connected = True
            elif isinstance(event, ConnectionTerminated):
                self._closed = event
            elif isinstance(event, StreamReset) and event.stream_id in self.streams:
                self.streams[event.stream_id].reset = event.error_code
            for http_event in self._h3.handle_event(event):
                self._handle(http_event)

    def _handle(self, event: H3Event) -> None:
        if not isinstance(event, (HeadersReceived, DataReceived)):
            return
        stream = self.streams[event.stream_id]
        if isinstance(event, DataReceived):
            stream.body += event.data
        else:
            fields = [(n.decode("latin-1"), v.decode("latin-1")) for n, v in event.headers]
            if any(name == ":status" for name, _ in fields):
                stream.take_head(fields)
            else:
                stream.trailers = fields
        stream.ended = stream.ended or event.stream_ended

    def _flush(self) -> None:
        for data, _ in self._quic.datagrams_to_send(now=time.monotonic()):
            self.socket.send(data)
