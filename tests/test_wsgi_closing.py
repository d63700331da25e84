"""`close()` of a WSGI app's iterable runs exactly once, however the request ends."""

from __future__ import annotations

import signal
from collections.abc import Callable

import pytest

from harness.board import Board
from harness.caddyfile import wsgi
from harness.http1 import Connection
from harness.plugin import Serve
from harness.server import Server
from harness.waiting import wait_for
from harness.ways import HTTP1, WAYS, ask, connect1

pytestmark = pytest.mark.conformance("S11")


@pytest.fixture(scope="module")
def server(serve_module: Serve) -> Server:
    app = wsgi("wsgi_closing:app")
    return serve_module(app, app, tls=True, probe="/hello")


@pytest.fixture(autouse=True)
def closed_once(board: Board, server: Server) -> Callable[[], None]:
    """Called by a test when the app must have closed its iterable."""

    def check() -> None:
        board.wait("closed")
        # Another request of the same app comes after whatever the first still did.
        assert ask(server, "HTTP/1.1", "GET", "/hello").text == "hello"
        assert board.lines("closed") == [""]

    return check


IN_ORDER = [
    ("/blocks", 200, b"ab"),
    ("/nothing", 200, b""),
    ("/exact_length", 200, b"ab"),
    ("/no_content", 204, b""),
    ("/not_modified", 304, b""),
    ("/after_write", 200, b"ab"),
    ("/a_list_that_closes", 200, b"ab"),
    ("/a_generator", 200, b"ab"),
    ("/an_iterable_apart_from_its_iterator", 200, b"ab"),
]


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(("target", "status", "body"), IN_ORDER)
def test_after_a_response_in_order(
    server: Server,
    board: Board,
    closed_once: Callable[[], None],
    way: str,
    target: str,
    status: int,
    body: bytes,
) -> None:
    response = ask(server, way, "GET", target, board.headers)
    assert (response.status, response.body, response.broken) == (status, body, None)
    closed_once()


@pytest.mark.conformance("S18")
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("target", [target for target, _, _ in IN_ORDER])
def test_after_head(
    server: Server, board: Board, closed_once: Callable[[], None], way: str, target: str
) -> None:
    response = ask(server, way, "HEAD", target, board.headers)
    assert (response.body, response.broken) == (b"", None)
    closed_once()


@pytest.mark.conformance("S02", "S08", "S19")
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(
    ("target", "logged"),
    [
        ("/fails_before_the_first_block", "planted: first"),
        ("/fails_before_start_response", "start_response"),
        ("/fails_to_iterate", "planted: iter"),
        ("/yields_text", "TypeError"),
    ],
)
def test_after_an_error_before_the_head(
    server: Server,
    board: Board,
    closed_once: Callable[[], None],
    way: str,
    target: str,
    logged: str,
) -> None:
    server.expect_failure(logged)
    assert ask(server, way, "GET", target, board.headers).status == 500
    closed_once()


@pytest.mark.conformance("S09", "S15", "S33")
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(
    ("target", "logged"),
    [
        ("/fails_mid_stream", "planted: mid stream"),
        ("/exits_mid_stream", "SystemExit"),
        ("/too_short", "Content-Length of 10"),
    ],
)
def test_after_an_error_within_the_body(
    server: Server,
    board: Board,
    closed_once: Callable[[], None],
    way: str,
    target: str,
    logged: str,
) -> None:
    server.expect_app_log(logged)
    response = ask(server, way, "GET", target, board.headers)
    assert (response.status, response.body) == (200, b"a")
    assert response.broken is not None
    closed_once()


@pytest.mark.conformance("S15")
@pytest.mark.parametrize("way", WAYS)
def test_after_more_blocks_than_promised(
    server: Server, board: Board, closed_once: Callable[[], None], way: str
) -> None:
    server.allow_log("Content-Length of 1")
    response = ask(server, way, "GET", "/too_long", board.headers)
    assert (response.status, response.body, response.broken) == (200, b"a", None)
    closed_once()


@pytest.mark.conformance("S33")
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(
    ("target", "logged"), [("/close_fails", "planted: close"), ("/close_exits", "SystemExit")]
)
def test_an_error_in_it_is_logged_and_does_not_harm_the_answer(
    server: Server,
    board: Board,
    closed_once: Callable[[], None],
    way: str,
    target: str,
    logged: str,
) -> None:
    server.expect_app_log(logged)
    response = ask(server, way, "GET", target, board.headers)
    assert (response.status, response.body) == (200, b"ab")
    closed_once()


# Clients that leave

WAITING = ["/waits_before_the_first_block", "/waits_between_blocks", "/waits_and_fails"]


@pytest.mark.conformance("S12")
@pytest.mark.parametrize("way", HTTP1)
@pytest.mark.parametrize("leave", [Connection.close, Connection.reset])
@pytest.mark.parametrize("target", WAITING)
def test_after_the_client_left(
    server: Server,
    board: Board,
    closed_once: Callable[[], None],
    way: str,
    leave: Callable[[Connection], None],
    target: str,
) -> None:
    server.allow_log("planted: after the client left")
    connection = connect1(server, way)
    connection.request("GET", target, board.headers)
    board.wait("running")
    leave(connection)
    board.post("go")
    closed_once()


@pytest.mark.conformance("S12")
@pytest.mark.parametrize("how", ["cancel", "close"])
@pytest.mark.parametrize("target", WAITING)
def test_after_an_http_2_client_left(
    server: Server, board: Board, closed_once: Callable[[], None], how: str, target: str
) -> None:
    server.allow_log("planted: after the client left")
    with server.connect2() as connection:
        number = connection.start("GET", target, board.headers)
        board.wait("running")
        connection.cancel(number) if how == "cancel" else connection.close()
        board.post("go")
        closed_once()


# A configuration that changes meanwhile


@pytest.mark.conformance("T11")
@pytest.mark.parametrize("target", WAITING[:2])
def test_after_a_reload_while_it_ran(serve: Serve, board: Board, target: str) -> None:
    server = serve(wsgi("wsgi_closing:app", "env_var COUNT 1"))
    with server.connect() as connection:
        connection.request("GET", target, board.headers)
        board.wait("running")
        done = server.reload(wsgi("wsgi_closing:app", "env_var COUNT 2"))
        assert done.returncode == 0, done.stderr
        assert server.get("/hello").text == "hello"
        assert board.lines("closed") == []
        board.post("go")
        response = connection.response()
        assert (response.text, response.broken) == ("ab", None)
    board.wait("closed")
    server.stop()
    assert board.lines("closed") == [""]


@pytest.mark.conformance("T11")
@pytest.mark.parametrize("target", WAITING[:2])
def test_before_the_server_stops(serve: Serve, board: Board, target: str) -> None:
    server = serve(wsgi("wsgi_closing:app"))
    with server.connect() as connection:
        connection.request("GET", target, board.headers)
        board.wait("running")
        assert server.process is not None
        server.process.send_signal(signal.SIGTERM)
        wait_for(lambda: server.log.find("shutting down"), "the shutdown to begin")
        board.post("go")
        assert connection.response().text == "ab"
    server.stop()
    assert board.lines("closed") == [""]


def test_for_each_request_of_a_connection(server: Server, board: Board) -> None:
    with server.connect() as connection:
        for _ in range(50):
            connection.request("GET", "/blocks", board.headers)
            assert connection.response().body == b"ab"
    board.wait("closed", 50)
