"""A small HTTP/2 client, over TLS or with prior knowledge (h2c), that sees how streams end."""

from __future__ import annotations

import socket
from collections.abc import Callable

import h2.config
import h2.connection
import h2.events
import h2.exceptions

from harness.http1 import Header, client_tls, send_at_once
from harness.ports import HOST
from harness.streams import Stream, StreamClient


class Connection2(StreamClient):
    """`timeout` bounds each wait for bytes."""

    version = "HTTP/2"

    def __init__(
        self, port: int, *, tls: bool = False, timeout: float = 10.0, host: str = ""
    ) -> None:
        super().__init__("https" if tls else "http", f"{host or HOST}:{port}", timeout)
        raw = socket.create_connection((HOST, port), timeout=self._timeout)
        send_at_once(raw)
        if tls:
            raw = client_tls(["h2"]).wrap_socket(raw, server_hostname=host or "localhost")
        self.socket = raw
        # Unchecked, for tests also want to send and to see what they must not.
        config = h2.config.H2Configuration(
            header_encoding="latin-1",
            validate_inbound_headers=False,
            validate_outbound_headers=False,
            normalize_outbound_headers=False,
        )
        self._h2 = h2.connection.H2Connection(config)
        self._h2.initiate_connection()
        self._flush()

    def close(self) -> None:
        self.socket.close()

    @property
    def takes_extended_connect(self) -> bool:
        """Whether the server has announced RFC 8441 in its settings."""
        return bool(self._h2.remote_settings.enable_connect_protocol)

    def send_head(self, number: int, fields: list[Header], *, end: bool) -> None:
        self._h2.send_headers(number, fields, end_stream=end)
        self._flush()

    def send_data(self, number: int, data: bytes, *, end: bool = False) -> None:
        """Sends what fits into the server's flow-control window as it is; more is an error."""
        size = self._h2.max_outbound_frame_size
        while len(data) > size:
            self._h2.send_data(number, data[:size])
            data = data[size:]
        self._h2.send_data(number, data, end_stream=end)
        self._flush()

    def window(self, number: int) -> int:
        """How many bytes of a body the server takes now."""
        size: int = self._h2.local_flow_control_window(number)
        return size

    def send_all(self, number: int, data: bytes) -> None:
        """Sends data of any size, as fast as the server opens its window."""
        while data:
            size = self.window(number)
            if size == 0:
                self._take_in()
                continue
            self.send_data(number, data[:size])
            data = data[size:]

    def sends_until_it_blocks(self, number: int, limit: int, quiet: float = 1.0) -> int:
        """Sends zeros until the window stays closed for `quiet` seconds; how many bytes went."""
        sent = 0
        self.socket.settimeout(quiet)
        try:
            while sent < limit:
                size = self.window(number)
                if size == 0:
                    self._take_in()
                self.send_data(number, bytes(size))
                sent += size
        except TimeoutError:
            pass
        finally:
            self.socket.settimeout(self._timeout)
        return sent

    def cancel(self, number: int) -> None:
        """Sends RST_STREAM with CANCEL, as a browser does when its user leaves."""
        self._h2.reset_stream(number, error_code=8)
        self._flush()

    def wait(self, number: int, condition: Callable[[Stream], bool]) -> Stream:
        """Takes in frames until the condition holds for the stream or the stream is over."""
        stream = self.streams[number]
        while not (condition(stream) or stream.is_over):
            self._take_in()
        return stream

    def _next_number(self) -> int:
        number: int = self._h2.get_next_available_stream_id()
        return number

    def _take_in(self) -> None:
        data = self.socket.recv(65536)
        if not data:
            raise ConnectionError("the server closed the HTTP/2 connection")
        for event in self._h2.receive_data(data):
            self._handle(event)
        self._flush()

    def _handle(self, event: h2.events.Event) -> None:
        stream = self.streams.get(getattr(event, "stream_id", 0) or 0)
        if stream is None:
            return
        heads = (h2.events.ResponseReceived, h2.events.InformationalResponseReceived)
        if isinstance(event, heads):
            stream.take_head([(str(name), str(value)) for name, value in event.headers])
        elif isinstance(event, h2.events.TrailersReceived):
            stream.trailers = [(str(name), str(value)) for name, value in event.headers]
        elif isinstance(event, h2.events.DataReceived):
            stream.body += event.data
            self._h2.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
        elif isinstance(event, h2.events.StreamEnded):
            stream.ended = True
        elif isinstance(event, h2.events.StreamReset):
            stream.reset = int(event.error_code)

    def _flush(self) -> None:
        data = self._h2.data_to_send()
        if data:
            self.socket.sendall(data)
