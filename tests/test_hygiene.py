"""Broken and unusual requests in front of an app."""

from __future__ import annotations

from contextlib import suppress

import pytest

from harness import http1
from harness.board import Board
from harness.caddyfile import asgi, wsgi
from harness.http1 import Broken, Connection
from harness.plugin import Serve
from harness.server import FAILED_REQUEST, Server
from harness.smuggling import SMUGGLED, post_head
from harness.ways import WAYS, ask

WSGI = wsgi("wsgi_hygiene:app")
BLOCKS = {"wsgi": WSGI, "asgi": asgi("asgi_hygiene:app", "lifespan off")}


@pytest.fixture(scope="module", params=BLOCKS)
def server(request: pytest.FixtureRequest, serve_module: Serve) -> Server:
    block = BLOCKS[request.param]
    return serve_module(block, block, tls=True, probe="/hello")


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
        ("Content-Length: +4",),
        ("Content-Length: 4x",),
        ("Content-Length: 0x4",),
        ("Transfer-Encoding: chunked, chunked",),
        ("Transfer-Encoding: chunked", "Transfer-Encoding: chunked"),
        ("Transfer-Encoding: gzip, chunked",),
        ("Transfer-Encoding: xchunked",),
        ("Transfer-Encoding : chunked",),
        ("X-Bad\x00: 1",),
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
def test_broken_chunks_are_an_error_for_the_app_and_end_the_connection(
    server: Server, board: Board, body: bytes
) -> None:
    server.allow_log(f"BrokenPipeError|{FAILED_REQUEST}")
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


# The head


@pytest.mark.conformance("M02")
@pytest.mark.parametrize(
    "request_head",
    [
        b"GET /x HTTP/1.1\r\nX-Board: %b\r\n\r\n",
        b"GET /x HTTP/1.1\r\nX-Board: %b\r\nHost: a\r\nHost: b\r\n\r\n",
        b"GET /x HTTP/1.1\r\nX-Board: %b\r\nHost: a b\r\n\r\n",
        b"GET /x HTTP/1.1\r\nX-Board: %b\r\nHost: a/b\r\n\r\n",
    ],
    ids=["none", "two", "space", "slash"],
)
def test_a_request_without_exactly_one_valid_host_is_refused(
    server: Server, board: Board, request_head: bytes
) -> None:
    with plain(server) as connection:
        connection.send(request_head % str(board.folder).encode())
        assert connection.response().status == 400
        assert connection.is_closed()
    assert board.lines("called") == []


@pytest.mark.conformance("M05")
@pytest.mark.parametrize("way", ["one long", "many short"])
def test_headers_that_are_too_large_are_431(server: Server, board: Board, way: str) -> None:
    count, size = (1, 2 << 20) if way == "one long" else (100_000, 10)
    headers = [*board.headers, *[(f"X-{number}", "x" * size) for number in range(count)]]
    with plain(server) as connection:
        with suppress(ConnectionError):  # It may be refused before we have said it all.
            connection.request("GET", "/x", headers)
        assert connection.response().status == 431
        assert connection.is_closed()
    assert board.lines("called") == []


@pytest.fixture(scope="module", params=BLOCKS)
def generous(request: pytest.FixtureRequest, serve_module: Serve) -> Server:
    """A server that takes larger heads than usual."""
    block = BLOCKS[request.param]
    return serve_module(block, block, tls=True, servers=["max_header_size 2MB"])


@pytest.mark.conformance("M05")
@pytest.mark.parametrize("tls", [False, True])
@pytest.mark.parametrize(("count", "size"), [(1, 60_000), (500, 100), (5, 12_000)])
def test_large_headers_within_the_limit_reach_the_app(
    generous: Server, tls: bool, count: int, size: int
) -> None:
    headers = [(f"X-{number}", "x" * size) for number in range(count)]
    port = generous.ports[0 if tls else 1]
    response = http1.request(port, "GET", "/header_sizes", headers, tls=tls)
    assert response.text == f"{count} {count * size}"


@pytest.mark.conformance("M05")
@pytest.mark.parametrize("tls", [False, True])
def test_headers_that_do_not_fit_into_a_slot_are_431(generous: Server, tls: bool) -> None:
    """Whatever Caddy's own limit is."""
    headers = [(f"X-{number}", "x" * 10_000) for number in range(8)]
    port = generous.ports[0 if tls else 1]
    response = http1.request(port, "GET", "/header_sizes", headers, tls=tls)
    assert response.status == 431
    assert http1.request(port, "GET", "/header_sizes", [], tls=tls).text == "0 0"


@pytest.mark.conformance("M06")
def test_200_clients_that_never_finish_their_head_hold_up_nobody(serve: Serve) -> None:
    server = serve(wsgi("wsgi_hygiene:app", "threads 2"), probe="/hello")
    clients = [server.connect() for _ in range(200)]
    for client in clients:
        client.send(b"POST /x HTTP/1.1\r\nHost: localhost\r\nX-Sl")
    for _ in range(20):
        assert server.get("/hello").text == "hello"
    for client in clients:
        client.close()


# Methods


@pytest.mark.conformance("M09", "W02")
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(
    "method", ["PUT", "DELETE", "OPTIONS", "TRACE", "QUERY", "M-SEARCH", "get"]
)
def test_any_method_reaches_the_app_with_or_without_a_body(
    server: Server, way: str, method: str
) -> None:
    for body in (None, b"a body"):
        response = ask(server, way, method, "/x", (), body)
        assert (response.status, response.get("x-method")) == (200, method)
        assert response.body == (body or b"")


@pytest.mark.conformance("M09")
def test_options_for_the_server_as_a_whole_is_answered(server: Server) -> None:
    response = http1.request(server.ports[1], "OPTIONS", "*")
    assert (response.status, response.broken) == (200, None)


@pytest.mark.conformance("M09")
def test_connect_opens_no_tunnel(server: Server, board: Board) -> None:
    with plain(server) as connection:
        connection.request("CONNECT", "example.test:80", board.headers)
        response = connection.response()
        assert response.status >= 400 or response.get("x-method") == "CONNECT"
        with suppress(Broken, ConnectionError):
            connection.request("GET", "/hello")
            assert connection.response().text == "hello"


@pytest.mark.conformance("M09", "K17")
@pytest.mark.parametrize("tls", [False, True])
def test_an_upgrade_to_websocket_is_an_ordinary_request_for_wsgi(
    serve_module: Serve, tls: bool
) -> None:
    server = serve_module(WSGI, WSGI, tls=True, probe="/hello")
    upgrade = [
        ("Connection", "Upgrade"),
        ("Upgrade", "websocket"),
        ("Sec-WebSocket-Version", "13"),
        ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="),
    ]
    with Connection(server.ports[0 if tls else 1], tls=tls) as connection:
        for _ in range(2):
            connection.request("GET", "/hello", upgrade)
            response = connection.response()
            assert (response.status, response.text) == (200, "hello")
            assert response.get("upgrade") is None


@pytest.mark.conformance("M09")
@pytest.mark.parametrize(
    "line", [b"GET /x", b"GET  /x HTTP/1.1", b"/x HTTP/1.1", b"GET /x HTTP/3.7", b"\x16\x03\x01"]
)
def test_what_is_no_request_line_is_refused(server: Server, line: bytes) -> None:
    with plain(server) as connection:
        connection.send(line + b"\r\nHost: localhost\r\n\r\n")
        assert connection.response().status in (400, 505)
        assert connection.is_closed()
