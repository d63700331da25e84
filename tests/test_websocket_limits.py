"""Websockets whose other side is slow or silent: memory and time are bounded (section K)."""

from __future__ import annotations

import json

import pytest

from harness import proc
from harness.board import Board
from harness.caddyfile import asgi
from harness.plugin import Serve
from harness.server import Server
from harness.websocket import BINARY, PING, PONG, WebSocket

MIB = 1 << 20


@pytest.fixture(scope="module")
def server(serve_module: Serve) -> Server:
    return serve_module(asgi("websocket_cases:app", "lifespan off"), probe="/hello")


@pytest.fixture
def quick(serve: Serve) -> Server:
    pings = "websocket {\nping_interval 200ms\nping_timeout 1500ms\n}"
    return serve(asgi("websocket_cases:app", "lifespan off", pings), probe="/hello")


@pytest.mark.conformance("K18")
def test_a_slow_reader_pauses_the_app(server: Server, board: Board) -> None:
    before = proc.rss(server.pid)
    with WebSocket(server, "/floods", board.headers, receive_buffer=65536) as socket:
        board.wait("sent", 2)
        sent = board.wait_until_still("sent")
        assert sent * 65536 < 10 * MIB
        assert proc.rss(server.pid) - before < 30 * MIB
        for _ in range(2000):
            assert len(socket.receive().payload) == 65536
        assert socket.receive().code == 1000


@pytest.mark.conformance("K19")
def test_a_slow_app_pauses_the_client(server: Server, board: Board) -> None:
    before = proc.rss(server.pid)
    with WebSocket(server, "/reads_when_told", board.headers) as socket:
        socket.socket.settimeout(0.5)
        sent = 0
        with pytest.raises(TimeoutError):
            for _ in range(2000):
                socket.send(BINARY, bytes(65536))
                sent += 65536
        assert sent < 40 * MIB  # most of it in the kernel's buffers
        assert proc.rss(server.pid) - before < 30 * MIB
        board.post("read")
        socket.connection.close()
        assert int(board.wait("read all")[0]) >= sent - 65536


@pytest.mark.conformance("K15")
def test_a_silent_client_is_given_up(quick: Server, board: Board) -> None:
    with WebSocket(quick, "/listens", board.headers) as socket:
        assert socket.receive().opcode == PING
        assert json.loads(board.wait("last")[0])["code"] == 1011


@pytest.mark.conformance("K15")
def test_a_client_that_answers_pings_stays(quick: Server) -> None:
    with WebSocket(quick, "/echo") as socket:
        for _ in range(12):  # longer than the interval and the timeout
            frame = socket.receive()
            assert frame.opcode == PING
            socket.send(PONG, frame.payload)
        socket.text("here")
        while (frame := socket.receive()).opcode == PING:
            socket.send(PONG, frame.payload)
        assert frame.payload == b"here"


def test_a_claimed_length_takes_no_memory(server: Server) -> None:
    before = proc.rss(server.pid)
    sockets = [WebSocket(server, "/echo") for _ in range(100)]
    for socket in sockets:
        socket.send(BINARY, b"x" * 100, length=16 * MIB)
    assert server.get("/hello").status == 200
    assert proc.rss(server.pid) - before < 50 * MIB
    for socket in sockets:
        socket.connection.close()
