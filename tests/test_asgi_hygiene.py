"""Broken and unusual requests in front of an ASGI app.

What does not depend on the interface, such as 431 for large heads, is in test_wsgi_hygiene.py.
"""

from __future__ import annotations

from contextlib import suppress

import pytest

from harness import http1
from harness.board import Board
from harness.caddyfile import asgi
from harness.http1 import Broken, Connection
from harness.plugin import Serve
from harness.server import FAILED_REQUEST, Server
from harness.smuggling import SMUGGLED, post_head
from harness.ways import WAYS, ask

APP = asgi("asgi_hygiene:app", "lifespan off")


@pytest.fixture(scope="module")
def server(serve_module: Serve) -> Server:
    return serve_module(APP, APP, tls=True, servers=["max_header_size 2MB"], probe="/hello")


def plain(server: Server) -> Connection:
    return Connection(server.ports[1])


# Framing


@pytest.mark.smoke
@pytest.mark.conformance("M01")
@pytest.mark.parametrize(
    "lines",
    [
        ("Content-Length: 4", "Content-Length: 5"),
        ("Content-Length: 4, 5",),
        ("Content-Length: -4",),
        ("Content-Length: 0x4",),
        ("Transfer-Encoding: chunked, chunked",),
        ("Transfer-Encoding: gzip, chunked",),
        ("Transfer-Encoding : chunked",),
    ],
    ids=lambda lines: " & ".join(lines),
)
def test_framing_that_says_two_things_is_refused_and_closed(
    server: Server, board: Board, lines: tuple[str, ...]
) -> None:
    with plain(server) as connection:
        connection.send(post_head(board, *lines) + b"0\r\n\r\n" + SMUGGLED)
        response = connection.response()
        assert response.status in (400, 501)
        assert connection.is_closed()
    assert board.lines("called") == []


@pytest.mark.conformance("M01")
def test_a_length_beside_chunks_is_no_second_request(server: Server, board: Board) -> None:
    """RFC 9112 section 6.1: refused, or taken as chunked, by all who read along."""
    with plain(server) as connection:
        lines = ["Content-Length: 5", "Transfer-Encoding: chunked"]
        connection.send(post_head(board, *lines) + b"0\r\n\r\n" + SMUGGLED)
        response = connection.response()
        if response.status != 400:
            assert (response.status, response.body) == (200, b"")
            assert connection.response().text == "hello"


@pytest.mark.smoke
@pytest.mark.conformance("M01")
@pytest.mark.parametrize(
    "body",
    [
        b"g\r\nabc\r\n0\r\n\r\n",
        b"-1\r\nabc\r\n0\r\n\r\n",
        b"0x3\r\nabc\r\n0\r\n\r\n",
        b"3\nabc\n0\n\n",
        b"3\r\nabcdef\r\n0\r\n\r\n",
        b"fffffffffffffffff\r\nabc\r\n0\r\n\r\n",
        b"3\r\nabc0\r\n\r\n",
    ],
    ids=["no number", "negative", "prefix", "bare LF", "too long", "overflow", "no CRLF"],
)
def test_broken_chunks_are_a_disconnect_for_the_app_and_end_the_connection(
    server: Server, board: Board, body: bytes
) -> None:
    server.allow_log(FAILED_REQUEST)
    with plain(server) as connection:
        connection.send(post_head(board, "Transfer-Encoding: chunked") + body + SMUGGLED)
        with suppress(Broken, ConnectionError):
            response = connection.response()
            assert response.status >= 400 or response.broken is not None
            assert connection.is_closed()
    assert board.lines("read") == []
    assert len(board.lines("failed")) == len(board.lines("called"))


@pytest.mark.conformance("M01")
@pytest.mark.parametrize(
    ("body", "read"),
    [
        (b"3;name=value\r\nabc\r\n0\r\n\r\n", "abc"),
        (b"3\r\nabc\r\n0\r\nX-Trailer: 1\r\n\r\n", "abc"),
        (b"A\r\n0123456789\r\n00\r\n\r\n", "0123456789"),
    ],
    ids=["extension", "trailer", "upper case"],
)
def test_chunks_in_all_their_glory_are_read(
    server: Server, board: Board, body: bytes, read: str
) -> None:
    with plain(server) as connection:
        connection.send(post_head(board, "Transfer-Encoding: chunked") + body + SMUGGLED)
        assert connection.response().text == read
        assert connection.response().text == "hello"
    assert board.lines("read") == [read]


@pytest.mark.smoke
@pytest.mark.conformance("M03")
@pytest.mark.parametrize("framing", ["Content-Length: 3", "Transfer-Encoding: chunked"])
def test_pipelined_bodies_and_requests_are_not_mixed(
    server: Server, board: Board, framing: str
) -> None:
    body = b"abc" if framing.startswith("C") else b"3\r\nabc\r\n0\r\n\r\n"
    with plain(server) as connection:
        connection.send((post_head(board, framing) + body + SMUGGLED) * 5)
        for _ in range(5):
            assert connection.response().text == "abc"
            assert connection.response().text == "hello"
    assert board.lines("read") == ["abc"] * 5


@pytest.mark.conformance("M02")
@pytest.mark.parametrize("hosts", ["", "Host: a\r\nHost: b\r\n", "Host: a b\r\n"])
def test_a_request_without_exactly_one_valid_host_is_refused(
    server: Server, board: Board, hosts: str
) -> None:
    with plain(server) as connection:
        connection.send(f"GET /x HTTP/1.1\r\nX-Board: {board.folder}\r\n{hosts}\r\n".encode())
        assert connection.response().status == 400
        assert connection.is_closed()
    assert board.lines("called") == []


@pytest.mark.conformance("M05")
@pytest.mark.parametrize(("count", "size"), [(1, 60_000), (500, 100), (5, 12_000)])
def test_large_headers_within_the_limit_reach_the_app(
    server: Server, count: int, size: int
) -> None:
    headers = [(f"X-{number}", "x" * size) for number in range(count)]
    response = ask(server, "HTTP/1.1", "GET", "/header_sizes", headers)
    assert response.text == f"{count} {count * size}"


# Methods


@pytest.mark.conformance("M09")
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(
    "method", ["PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "PROPFIND", "QUERY", "M-SEARCH"]
)
def test_any_method_reaches_the_app_with_or_without_a_body(
    server: Server, way: str, method: str
) -> None:
    for body in (None, b"a body"):
        response = ask(server, way, method, "/x", (), body)
        assert (response.status, response.get("x-method")) == (200, method)
        assert response.body == (body or b"")


@pytest.mark.conformance("M09")
def test_connect_opens_no_tunnel(server: Server, board: Board) -> None:
    with plain(server) as connection:
        connection.request("CONNECT", "example.test:80", board.headers)
        response = connection.response()
        assert response.status >= 400 or response.get("x-method") == "CONNECT"
        with suppress(Broken, ConnectionError):
            connection.request("GET", "/hello")
            assert connection.response().text == "hello"


@pytest.mark.conformance("M09")
def test_options_for_the_server_as_a_whole_is_answered(server: Server) -> None:
    response = http1.request(server.ports[1], "OPTIONS", "*")
    assert (response.status, response.broken) == (200, None)
