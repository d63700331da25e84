"""Broken and unusual requests in front of an ASGI app, and Caddy's other handlers around it.

What does not depend on the interface, such as 431 for large heads, is in test_wsgi_hygiene.py.
"""

from __future__ import annotations

import gzip
from contextlib import suppress

import pytest

from harness import http1
from harness.board import Board
from harness.caddyfile import asgi
from harness.http1 import Broken, Connection
from harness.plugin import Serve
from harness.server import FAILED_REQUEST, Server
from harness.ways import WAYS, ask

APP = asgi("asgi_hygiene:app", "lifespan off")


@pytest.fixture(scope="module")
def server(serve_module: Serve) -> Server:
    return serve_module(APP, APP, tls=True, servers=["max_header_size 2MB"], probe="/hello")


def plain(server: Server) -> Connection:
    return Connection(server.ports[1])


def head(board: Board, *lines: str) -> bytes:
    """A POST with these header lines beside those that it needs."""
    fixed = ["POST /x HTTP/1.1", "Host: localhost", f"X-Board: {board.folder}"]
    return "\r\n".join([*fixed, *lines, "", ""]).encode()


SMUGGLED = b"GET /hello HTTP/1.1\r\nHost: localhost\r\n\r\n"


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
        connection.send(head(board, *lines) + b"0\r\n\r\n" + SMUGGLED)
        response = connection.response()
        assert response.status in (400, 501)
        assert connection.is_closed()
    assert board.lines("called") == []


@pytest.mark.conformance("M01")
def test_a_length_beside_chunks_is_no_second_request(server: Server, board: Board) -> None:
    """RFC 9112 section 6.1: refused, or taken as chunked, by all who read along."""
    with plain(server) as connection:
        lines = ["Content-Length: 5", "Transfer-Encoding: chunked"]
        connection.send(head(board, *lines) + b"0\r\n\r\n" + SMUGGLED)
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
        connection.send(head(board, "Transfer-Encoding: chunked") + body + SMUGGLED)
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
        connection.send(head(board, "Transfer-Encoding: chunked") + body + SMUGGLED)
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
        connection.send((head(board, framing) + body + SMUGGLED) * 5)
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
@pytest.mark.parametrize(("count", "size"), [(1, 900_000), (2000, 100), (5, 100_000)])
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


# Caddy's handlers around the app


@pytest.mark.conformance("M08")
@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_compression_replaces_the_length(serve: Serve, method: str) -> None:
    server = serve(f"encode gzip\n{APP}")
    for target in ("/long_text", "/nothing", "/hello"):
        response = server.request(method, target, [("Accept-Encoding", "gzip")])
        assert response.broken is None
        if target == "/long_text" and method == "GET":
            assert response.get("content-encoding") == "gzip"
            assert response.get("content-length") in (None, str(len(response.body)))
            assert gzip.decompress(response.body) == b"text" * 10_000
        assert response.status == (204 if target == "/nothing" else 200)


@pytest.mark.conformance("M08")
def test_header_directives_change_what_the_app_said(serve: Serve) -> None:
    server = serve(f"header >Content-Type text/x\nheader X-Added yes\nheader -Server\n{APP}")
    response = server.get("/lost")
    assert (response.get("content-type"), response.get("x-added")) == ("text/x", "yes")
    assert response.get("server") is None


@pytest.mark.conformance("M08")
def test_error_routes_are_for_failures_and_not_for_the_apps_own_errors(serve: Serve) -> None:
    server = serve(f'{APP}\nhandle_errors {{\nrespond "sorry: {{err.status_code}}"\n}}')
    server.expect_failure_or_abort("planted: raises")
    assert server.get("/raises").text == "sorry: 500"
    response = server.get("/own_error")
    assert (response.status, response.text) == (503, "the app's own page")
    assert response.get("retry-after") == "7"
    assert server.get("/lost").text == "the app's own 404"


@pytest.mark.conformance("M08")
def test_an_app_may_make_the_error_page_of_another(serve: Serve) -> None:
    page = f"handle_errors {{\nrewrite * /error_page\n{APP}\n}}"
    server = serve(f"{asgi('asgi_hygiene:always_raises', 'lifespan off')}\n{page}")
    server.expect_app_log("planted: raises", times=2)
    for body in (None, b"x" * 100_000):
        response = server.request("POST", "/any", (), body)
        assert (response.status, response.text) == (500, "an error page made by an app")


@pytest.mark.conformance("M08")
def test_intercept_replaces_responses_of_the_app(serve: Serve) -> None:
    # Caddy leaves the length of the original to whoever replaces it.
    replaced = 'header -Content-Length\nrespond "replaced" 410'
    routes = f"intercept {{\n@lost status 404\nhandle_response @lost {{\n{replaced}\n}}\n}}"
    server = serve(f"{routes}\n{APP}")
    with server.connect() as connection:
        for target, status, text in [
            ("/lost", 410, "replaced"),
            ("/hello", 200, "hello"),
            ("/lost", 410, "replaced"),
        ]:
            connection.request("GET", target)
            response = connection.response()
            assert (response.status, response.text) == (status, text)


@pytest.mark.conformance("M08")
def test_templates_work_on_what_the_app_made(serve: Serve) -> None:
    server = serve(f"templates\n{APP}")
    response = server.get("/templated")
    assert (response.status, response.text, response.broken) == (200, "1 + 2 = 3", None)


@pytest.mark.conformance("M08")
def test_matchers_and_fallbacks_share_a_site_with_the_app(serve: Serve) -> None:
    server = serve(f'respond /before "before"\nhandle /x* {{\n{APP}\n}}\nrespond "after"')
    assert server.get("/before").text == "before"
    assert server.request("POST", "/x", (), b"app").text == "app"
    assert server.get("/other").text == "after"


@pytest.mark.conformance("M08")
def test_a_proxy_in_front_of_the_app_changes_nothing(serve: Serve) -> None:
    backend = serve(APP, probe="/hello")
    proxy = serve(f"reverse_proxy 127.0.0.1:{backend.port}", canary=False)
    with proxy.connect() as connection:
        for method, target, status, body in [
            ("GET", "/hello", 200, b"hello"),
            ("HEAD", "/long_text", 200, b""),
            ("GET", "/nothing", 204, b""),
            ("GET", "/own_error", 503, b"the app's own page"),
            ("GET", "/long_text", 200, b"text" * 10_000),
        ]:
            connection.request(method, target)
            response = connection.response()
            assert (response.status, response.body) == (status, body)
        connection.request("POST", "/x", (), [b"in ", b"pieces"])
        assert connection.response().text == "in pieces"
