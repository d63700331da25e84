"""The same request over each protocol and transport, for what must not depend on them.

A server for them has two sites: the first speaks TLS and QUIC (`tls=True`), the second does not.
TLS ends below the handlers, so most tests take each protocol once (`WAYS`). `EVERY_WAY` is for what
TLS may change: addresses and schemes, how bytes leave and in what pieces, and how a break looks.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from harness import http1
from harness.http1 import Header, Response
from harness.http2 import Connection2
from harness.http3 import Connection3
from harness.server import Server
from harness.streams import StreamClient

HTTP1 = ["HTTP/1.1", "HTTP/1.1 over TLS"]
HTTP2 = ["HTTP/2", "HTTP/2 over TLS"]
HTTP3 = ["HTTP/3 over TLS"]
EVERY_STREAM = [*HTTP2, *HTTP3]
EVERY_WAY = [*HTTP1, *EVERY_STREAM]

STREAMS = ["HTTP/2", *HTTP3]
WAYS = ["HTTP/1.1", *STREAMS]

# More than sockets hold of a response, or the windows of HTTP/2 and 3.
LARGE = {way: 8 << 20 if way in HTTP1 else 2 << 20 for way in EVERY_WAY}


def is_tls(way: str) -> bool:
    return way.endswith("TLS")


def port_of(server: Server, way: str) -> int:
    return server.ports[0 if is_tls(way) else 1]


def connect1(server: Server, way: str, **options: Any) -> http1.Connection:
    return http1.Connection(port_of(server, way), tls=is_tls(way), **options)


def connect_streams(server: Server, way: str) -> StreamClient:
    if way in HTTP3:
        return Connection3(port_of(server, way))
    return Connection2(port_of(server, way), tls=is_tls(way))


def ask(
    server: Server,
    way: str,
    method: str,
    target: str,
    headers: Iterable[Header] = (),
    body: bytes | list[bytes] | None = None,
) -> Response:
    """One request on a connection of its own. Over HTTP/2 and 3 a list as a body has no length."""
    if way in HTTP1:
        port = port_of(server, way)
        return http1.request(port, method, target, headers, body, tls=is_tls(way))
    with connect_streams(server, way) as connection:
        return ask2(connection, method, target, headers, body)


def ask2(
    connection: StreamClient,
    method: str,
    target: str,
    headers: Iterable[Header] = (),
    body: bytes | list[bytes] | None = None,
) -> Response:
    """One request on this HTTP/2 or 3 connection; what came of it in the terms of HTTP/1."""
    fields = list(headers)
    if isinstance(body, bytes):
        fields.append(("content-length", str(len(body))))
    if isinstance(body, list):
        number = connection.start(method, target, fields, end=False)
        for part in body:
            connection.send_all(number, part)
        connection.send_data(number, b"", end=True)
    else:
        number = connection.start(method, target, fields, body)
    stream = connection.response(number)
    return Response(
        connection.version,
        stream.status or 0,
        "",
        stream.headers,
        stream.body,
        None if stream.ended else f"reset with code {stream.reset}",
        stream.interim,
    )
