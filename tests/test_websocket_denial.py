"""Websockets that an app refuses: whole responses, mistakes in them, what may come after."""

from __future__ import annotations

import pytest

from harness import proc
from harness.board import Board
from harness.caddyfile import asgi
from harness.http1 import Connection
from harness.plugin import Serve
from harness.server import Server
from harness.waiting import wait_for
from harness.websocket import HANDSHAKE, WebSocket

pytestmark = pytest.mark.conformance("K02")

MIB = 1 << 20
SITE = asgi("websocket_denials:app", "lifespan off")


@pytest.fixture(scope="module")
def server(serve_module: Serve) -> Server:
    return serve_module(SITE, probe="/hello")


def ask(connection: Connection, target: str, board: Board) -> None:
    connection.request("GET", target, [*HANDSHAKE, *board.headers])


@pytest.mark.smoke
def test_status_headers_and_body_are_the_apps(server: Server) -> None:
    response = server.get("/with_cookies", HANDSHAKE)
    assert (response.status, response.text, response.broken) == (401, "who are you?", None)
    assert response.all("set-cookie") == ["a=1", "b=2"]
    assert response.get("x-why") == "no"
    assert response.get("content-length") == "12"
    assert response.get("sec-websocket-accept") is None


@pytest.mark.parametrize("status", [200, 204, 302, 304, 404, 426, 503])
def test_any_status_leaves_the_connection_usable(server: Server, status: int) -> None:
    with server.connect() as connection:
        for _ in range(2):
            connection.request("GET", f"/with_status?{status}", HANDSHAKE)
            response = connection.response()
            assert (response.status, response.broken) == (status, None)
            assert response.text == ("" if status in (204, 304) else "text")
        connection.request("GET", "/hello")
        assert connection.response().text == "hello"


def test_headers_and_body_may_be_left_out(server: Server) -> None:
    response = server.get("/with_defaults", HANDSHAKE)
    assert (response.status, response.body, response.broken) == (402, b"", None)


def test_a_body_arrives_as_it_is_made(server: Server, board: Board) -> None:
    with server.connect() as connection:
        ask(connection, "/in_pieces", board)
        assert connection.head().status == 403
        pieces = connection.chunks()
        for number in range(3):
            assert next(pieces) == b"piece %d" % number
            board.post(f"go{number}")
        assert list(pieces) == []


def test_a_long_body_waits_for_a_slow_client(server: Server, board: Board) -> None:
    before = proc.rss(server.pid)
    looks: list[int] = []

    def is_still() -> bool:
        looks.append(len(board.lines("sent")))
        return len(looks) > 20 and len(set(looks[-20:])) == 1

    with server.connect(receive_buffer=65536) as connection:
        ask(connection, "/at_length", board)
        connection.head()
        wait_for(is_still, "the app to be paused")
        assert looks[-1] < 160
        assert proc.rss(server.pid) - before < 30 * MIB
        assert sum(map(len, connection.chunks())) == 2000 * 65536


@pytest.mark.parametrize(
    "case", ["raises_before_the_body", "returns_after_the_start", "injects", "body_first"]
)
def test_a_mistake_before_the_body_is_a_500(server: Server, case: str) -> None:
    server.expect_failure("planted|without|ValueError|RuntimeError")
    response = server.get(f"/{case}", HANDSHAKE)
    assert (response.status, response.broken) == (500, None)
    assert response.get("x-injected") is None


@pytest.mark.parametrize("case", ["raises_in_the_body", "returns_in_the_body"])
def test_a_mistake_in_the_body_breaks_the_connection(server: Server, case: str) -> None:
    server.expect_app_log(".")
    response = server.get(f"/{case}", HANDSHAKE)
    assert response.status == 401
    assert response.broken is not None


def test_caddys_error_routes_answer_for_a_failed_app(serve: Serve) -> None:
    routes = 'handle_errors {\n respond "sorry: {err.status_code}" {err.status_code}\n}'
    server = serve(f"{SITE}\n{routes}", probe="/hello")
    server.expect_failure_or_abort("planted: before the body")
    response = server.get("/raises_before_the_body", HANDSHAKE)
    assert (response.status, response.text) == (500, "sorry: 500")


def test_a_started_refusal_is_final(server: Server, board: Board) -> None:
    response = server.get("/changes_its_mind", [*HANDSHAKE, *board.headers])
    assert (response.status, response.text, response.broken) == (401, "refused", None)
    assert board.wait("attempts", 5) == ["RuntimeError"] * 5


@pytest.mark.parametrize(
    ("case", "status", "receives"), [("talks_on", 401, 2), ("closes_and_talks_on", 403, 1)]
)
def test_after_a_refusal_the_app_is_disconnected(
    server: Server, board: Board, case: str, status: int, receives: int
) -> None:
    response = server.get(f"/{case}", [*HANDSHAKE, *board.headers])
    assert (response.status, response.broken) == (status, None)
    assert board.wait("received", receives) == ["websocket.disconnect"] * receives
    assert set(board.wait("attempts", 2)) <= {"RuntimeError", "BrokenPipeError"}


def test_code_and_reason_of_a_refusal_do_not_matter(server: Server) -> None:
    """They are for a close frame, and there is none."""
    response = server.get("/closes_with_odd_details", HANDSHAKE)
    assert (response.status, response.body, response.broken) == (403, b"", None)


def test_an_open_websocket_can_no_longer_be_denied(server: Server, board: Board) -> None:
    with WebSocket(server, "/open_then_denies", board.headers) as socket:
        assert socket.receive().payload == b"still open"
        assert socket.receive().code == 1000
    assert board.wait("attempts") == ["RuntimeError"]


def test_a_client_that_leaves_in_the_body_is_noticed(server: Server, board: Board) -> None:
    with server.connect() as connection:
        ask(connection, "/at_length", board)
        connection.head()
        board.wait("sent")
        connection.reset()
    # The check after the test finds what was left behind.


def test_a_refusal_arrives_over_tls(serve: Serve) -> None:
    server = serve(SITE, probe="/hello", tls=True)
    response = server.get("/with_cookies", HANDSHAKE)
    assert (response.status, response.text, response.broken) == (401, "who are you?", None)
