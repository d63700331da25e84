"""How websockets end, from either side (conformance section K)."""

from __future__ import annotations

import json

import pytest

from harness.board import Board
from harness.caddyfile import asgi
from harness.plugin import Serve
from harness.server import Server
from harness.waiting import wait_for
from harness.websocket import CLOSE, HANDSHAKE, WebSocket

SITE = asgi("websocket_cases:app", "lifespan off")


@pytest.fixture(scope="module")
def server(serve_module: Serve) -> Server:
    return serve_module(SITE, probe="/hello")


@pytest.mark.smoke
@pytest.mark.conformance("K04")
@pytest.mark.parametrize("case", ["raises", "leaves"])
def test_an_exception_closes_with_1011(server: Server, case: str) -> None:
    server.expect_app_log("planted|SystemExit")
    with WebSocket(server, f"/{case}") as socket:
        assert socket.receive().code == 1011


@pytest.mark.smoke
@pytest.mark.conformance("K04")
def test_a_return_closes_with_1000(server: Server) -> None:
    with WebSocket(server, "/returns") as socket:
        assert socket.receive().code == 1000
        socket.close(1000)
        assert socket.has_ended()


@pytest.mark.conformance("K09")
@pytest.mark.parametrize("code", [1000, 1001, 1012, 3000, 4999])
def test_the_app_chooses_code_and_reason(server: Server, board: Board, code: int) -> None:
    with WebSocket(server, f"/closes?{code},why", board.headers) as socket:
        frame = socket.receive()
        assert (frame.opcode, frame.code, frame.reason) == (CLOSE, code, "why")
        assert json.loads(board.wait("last")[0])["code"] == code


@pytest.mark.smoke
@pytest.mark.conformance("K09")
@pytest.mark.parametrize(("code", "reason"), [(4000, "cl"), (1000, ""), (1001, "bye")])
def test_the_app_learns_the_clients_code_and_reason(
    server: Server, board: Board, code: int, reason: str
) -> None:
    with WebSocket(server, "/messages", board.headers) as socket:
        socket.text("before")
        assert b"before" in socket.receive().payload
        socket.close(code, reason)
        assert socket.receive().code == code
        assert socket.has_ended()
    expected = {"type": "websocket.disconnect", "code": code, "reason": reason}
    assert json.loads(board.wait("last")[0]) == expected
    assert json.loads(board.wait("again")[0]) == expected


@pytest.mark.conformance("K09")
@pytest.mark.parametrize(("code", "reason"), [(4000, "why"), (1000, ""), (1001, "b\u00fcye" * 20)])
def test_the_client_gets_its_code_and_reason_back(server: Server, code: int, reason: str) -> None:
    with WebSocket(server, "/echo") as socket:
        socket.close(code, reason)
        frame = socket.receive()
        assert (frame.opcode, frame.code, frame.reason) == (CLOSE, code, reason)


@pytest.mark.conformance("K09")
def test_a_close_without_a_code_is_1005(server: Server, board: Board) -> None:
    with WebSocket(server, "/messages", board.headers) as socket:
        socket.close()
        assert socket.receive().payload == b""
    assert json.loads(board.wait("last")[0])["code"] == 1005


@pytest.mark.conformance("K09")
@pytest.mark.parametrize("leave", ["close", "reset"])
def test_a_connection_that_breaks_is_1006(server: Server, board: Board, leave: str) -> None:
    with WebSocket(server, "/messages", board.headers) as socket:
        getattr(socket.connection, leave)()
        assert json.loads(board.wait("last")[0])["code"] == 1006


def test_sending_to_a_client_that_left_raises_oserror(server: Server, board: Board) -> None:
    with WebSocket(server, "/sends_to_nobody", board.headers) as socket:
        socket.close(1000)
        assert board.wait("raised") == ["BrokenPipeError"]


def test_a_client_that_leaves_before_the_accept(server: Server, board: Board) -> None:
    server.allow_log("planted")
    with server.connect() as connection:
        connection.request_head("GET", "/waits", [*HANDSHAKE, *board.headers])
        board.wait("connecting")
        connection.reset()
    board.post("go")


@pytest.mark.conformance("K20")
def test_a_reload_closes_the_websockets_of_a_replaced_app(serve: Serve, board: Board) -> None:
    server = serve(SITE, probe="/hello")
    with WebSocket(server, "/listens", board.headers) as socket:
        board.wait("open")
        assert server.load(asgi("websocket_cases:app", "lifespan auto")).status == 200
        assert socket.receive().code == 1012
        assert json.loads(board.wait("last")[0])["code"] == 1012


@pytest.mark.conformance("K20")
def test_a_reload_that_changes_nothing_keeps_websockets(serve: Serve) -> None:
    server = serve(SITE, probe="/hello")
    with WebSocket(server, "/echo") as socket:
        other = "header X-New 1\n" + SITE
        assert server.load(other).status == 200
        wait_for(lambda: server.get("/hello").get("x-new") == "1", "the new configuration")
        socket.text("still here")
        assert socket.receive().payload == b"still here"


@pytest.mark.conformance("K20")
def test_a_stop_closes_websockets(serve: Serve, board: Board) -> None:
    server = serve(SITE, probe="/hello")
    with WebSocket(server, "/listens", board.headers) as socket:
        board.wait("open")
        server.stop()
        assert socket.receive().code == 1012
        assert json.loads(board.wait("last")[0])["code"] == 1012
