"""The same request over each protocol and transport, for what must not depend on them.

A server for them has two sites: the first speaks TLS (`tls=True`), the second does not.
"""

from __future__ import annotations

from collections.abc import Iterable

from harness import http1
from harness.http1 import Header, Response
from harness.http2 import Connection2
from harness.server import Server

HTTP1 = ["HTTP/1.1", "HTTP/1.1 over TLS"]
HTTP2 = ["HTTP/2", "HTTP/2 over TLS"]
WAYS = [*HTTP1, *HTTP2]


def ask(
    server: Server,
    way: str,
    method: str,
    target: str,
    headers: Iterable[Header] = (),
    body: bytes | list[bytes] | None = None,
) -> Response:
    """One request on a connection of its own. Over HTTP/2 a list as a body has no length."""
    tls = way.endswith("TLS")
    port = server.ports[0 if tls else 1]
    if way in HTTP1:
        return http1.request(port, method, target, headers, body, tls=tls)
    with Connection2(port, tls=tls) as connection:
        return ask2(connection, method, target, headers, body)


def ask2(
    connection: Connection2,
    method: str,
    target: str,
    headers: Iterable[Header] = (),
    body: bytes | list[bytes] | None = None,
) -> Response:
    """One request on this HTTP/2 connection; what came of it in the terms of HTTP/1."""
    fields = [(name.lower(), value) for name, value in headers]
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
        "HTTP/2",
        stream.status or 0,
        "",
        stream.headers,
        stream.body,
        None if stream.ended else f"reset with code {stream.reset}",
        stream.interim,
    )
