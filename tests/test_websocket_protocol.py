"""Clients that break the rules of RFC 6455 in less obvious ways, or bend them (K12, K15)."""

from __future__ import annotations

import asyncio
import json
import socket as sockets
import struct
import time

import pytest
from websockets.asyncio.client import connect

from harness.board import Board
from harness.caddyfile import asgi
from harness.plugin import Serve
from harness.ports import HOST
from harness.server import Server
from harness.waiting import wait_for
from harness.websocket import BINARY, CLOSE, HANDSHAKE, PING, PONG, TEXT, WebSocket

SITE = "websocket_cases:app"
CROWD = 256


@pytest.fixture(scope="module", params=["asyncio", "uvloop"])
def server(serve_module: Serve, request: pytest.FixtureRequest) -> Server:
    return serve_module(asgi(SITE, "lifespan off", f"loop {request.param}"), probe="/hello")


def last(board: Board) -> dict[str, object]:
    found: dict[str, object] = json.loads(board.wait("last")[0])
    return found


# Frames


@pytest.mark.conformance("K12")
@pytest.mark.parametrize(
    ("frames", "code"),
    [
        ([{"opcode": TEXT, "fin": False}, {"opcode": TEXT}], 1002),
        ([{"opcode": TEXT, "fin": False}, {"opcode": BINARY}], 1002),
        ([{"opcode": CLOSE, "payload": b"\x03\xe8", "fin": False}], 1002),
        ([{"opcode": CLOSE, "payload": b"\x03\xe8" + b"x" * 124}], 1002),
        ([{"opcode": PONG, "payload": b"x" * 126}], 1002),
        ([{"opcode": PING, "masked": False}], 1002),
        ([{"opcode": 7}], 1002),
        ([{"opcode": 15}], 1002),
        (
            [
                {"opcode": TEXT, "payload": b"\xe2\x82", "fin": False},
                {"opcode": 0, "payload": b"\xac\xff"},
            ],
            1007,
        ),
        ([{"opcode": TEXT, "payload": b"\xe2\x82"}], 1007),
        ([{"opcode": TEXT, "payload": b"\xed\xa0\x80"}], 1007),
        ([{"opcode": CLOSE, "payload": b"\x03\xe8\xed\xa0\x80"}], 1007),
    ],
    ids=lambda value: None if isinstance(value, int) else str(value)[:60],
)
def test_frames_that_break_the_protocol_are_refused(
    server: Server, board: Board, frames: list[dict[str, object]], code: int
) -> None:
    with WebSocket(server, "/listens", board.headers) as socket:
        for frame in frames:
            socket.send(**frame)  # type: ignore[arg-type]
        answer = socket.receive()
        assert (answer.opcode, answer.code) == (CLOSE, code)
        assert socket.has_ended()
    assert last(board)["code"] == code


@pytest.mark.conformance("K09", "K12")
@pytest.mark.parametrize("code", [0, 999, 1004, 1005, 1006, 1015, 1016, 2999, 5000, 65535])
def test_close_codes_that_mean_nothing_are_refused(server: Server, board: Board, code: int) -> None:
    with WebSocket(server, "/listens", board.headers) as socket:
        socket.close(code)
        assert socket.receive().code == 1002
    assert last(board)["code"] == 1002


@pytest.mark.conformance("K09")
@pytest.mark.parametrize("code", [1000, 1003, 1007, 1014, 3000, 4999])
def test_close_codes_that_mean_something_are_answered(
    server: Server, board: Board, code: int
) -> None:
    reason = "\u00fc" * 61 + "x"  # 123 bytes, as long as may be
    with WebSocket(server, "/listens", board.headers) as socket:
        socket.close(code, reason)
        assert socket.receive().code == code
        assert socket.has_ended()
    assert last(board) == {"type": "websocket.disconnect", "code": code, "reason": reason}


@pytest.mark.conformance("K06", "K08")
def test_utf8_may_be_cut_between_fragments(server: Server) -> None:
    text = "\u20ac\U0001f40d".encode()
    with WebSocket(server, "/echo") as socket:
        socket.send(TEXT, b"", fin=False)
        for byte in text:
            socket.send(0, bytes([byte]), fin=False)
            socket.send(PONG, b"nobody asked")
        socket.send(0, b"")
        assert socket.receive().payload == text


@pytest.mark.conformance("K08")
def test_bytes_may_come_one_by_one(server: Server) -> None:
    frame = b"\x82\x83\x01\x02\x03\x04" + bytes(
        a ^ b for a, b in zip(b"abc", b"\1\2\3", strict=True)
    )
    with WebSocket(server, "/echo") as socket:
        socket.socket.setsockopt(sockets.IPPROTO_TCP, sockets.TCP_NODELAY, 1)
        for byte in frame * 20:
            socket.socket.sendall(bytes([byte]))
        assert [socket.receive().payload for _ in range(20)] == [b"abc"] * 20


@pytest.mark.conformance("K08")
@pytest.mark.parametrize("size", [0, 1, 125])
def test_a_pong_repeats_the_payload(server: Server, size: int) -> None:
    with WebSocket(server, "/echo") as socket:
        for number in range(3):
            payload = bytes([number]) * size
            socket.send(PING, payload)
            pong = socket.receive()
            assert (pong.opcode, pong.payload) == (PONG, payload)


# The end


@pytest.mark.conformance("K09")
def test_what_follows_the_clients_close_is_ignored(server: Server, board: Board) -> None:
    with WebSocket(server, "/messages", board.headers) as socket:
        socket.send(CLOSE, b"\x0f\xa0")
        socket.text("too late")
        assert socket.receive().code == 4000
        assert socket.has_ended()
    assert last(board)["code"] == 4000


@pytest.mark.conformance("K09")
def test_a_client_that_stops_sending_has_left(server: Server, board: Board) -> None:
    with WebSocket(server, "/listens", board.headers) as socket:
        board.wait("open")
        socket.socket.shutdown(sockets.SHUT_WR)
        assert last(board)["code"] == 1006
        assert socket.has_ended()


@pytest.mark.conformance("K09")
@pytest.mark.parametrize("sent", [b"\x81", b"\x81\x85\0\0\0\0ab", b"\x01\x81\0\0\0\0a"])
def test_a_client_that_leaves_in_a_message_is_1006(
    server: Server, board: Board, sent: bytes
) -> None:
    with WebSocket(server, "/listens", board.headers) as socket:
        board.wait("open")
        socket.socket.sendall(sent)
    assert last(board)["code"] == 1006


@pytest.mark.conformance("K09")
def test_a_client_that_does_not_answer_a_close_is_dropped(server: Server, board: Board) -> None:
    """Also when it goes on sending."""
    with WebSocket(server, "/closes?4000,why", board.headers) as socket:
        assert socket.receive().code == 4000
        start = time.monotonic()
        with pytest.raises(ConnectionError):
            while time.monotonic() - start < 20:
                socket.text("more")
    assert last(board)["code"] == 4000


@pytest.mark.conformance("K09")
def test_both_may_close_at_once(server: Server, board: Board) -> None:
    for _ in range(20):
        with WebSocket(server, "/closes?4001,a", board.headers) as socket:
            socket.close(4002, "b")
            assert socket.receive().code in (4001, 4002)
            assert socket.has_ended()
    codes = {json.loads(line)["code"] for line in board.wait("last", 20)}
    assert codes <= {4001, 4002}


# Pings


@pytest.mark.conformance("K15")
def test_pings_can_be_turned_off(serve: Serve, board: Board) -> None:
    options = ("lifespan off", "websocket {\nping_interval off\nping_timeout 100ms\n}")
    server = serve(asgi(SITE, *options), probe="/hello")
    with WebSocket(server, "/echo") as socket:
        socket.socket.settimeout(1.0)
        with pytest.raises(TimeoutError):
            socket.receive()
        socket.socket.settimeout(10)
        socket.text("still here")
        assert socket.receive().payload == b"still here"


@pytest.mark.conformance("K15")
@pytest.mark.parametrize(
    ("interval", "timeout", "count"), [(0.2, 10, 5), (0.2, 2, 5), (1, 0.9, 3)], ids=str
)
def test_a_ping_comes_in_each_interval_whatever_the_timeout(
    serve: Serve, interval: float, timeout: float, count: int
) -> None:
    """In the rhythm of the longer timeouts, pings would come too late."""
    pings = f"websocket {{\nping_interval {interval}s\nping_timeout {timeout}s\n}}"
    server = serve(asgi(SITE, "lifespan off", pings), probe="/hello")
    with WebSocket(server, "/echo") as socket:
        start = time.monotonic()
        for _ in range(count):
            assert socket.receive().opcode == PING
            socket.send(PONG)
    passed = time.monotonic() - start
    assert passed < count * interval + 5


@pytest.mark.conformance("K15")
@pytest.mark.parametrize("sign", [PONG, TEXT, PING])
def test_any_sign_of_life_counts(serve: Serve, board: Board, sign: int) -> None:
    options = ("lifespan off", "websocket {\nping_interval 200ms\nping_timeout 1500ms\n}")
    server = serve(asgi(SITE, *options), probe="/hello")
    with WebSocket(server, "/listens", board.headers) as socket:
        start = time.monotonic()
        while time.monotonic() - start < 3:
            frame = socket.receive()
            assert frame.opcode != CLOSE
            if frame.opcode == PING:
                socket.send(sign, b"")
        assert board.lines("last") == []
        # From now on it is silent.
        assert last(board)["code"] == 1011


@pytest.mark.conformance("K15")
def test_a_client_in_the_middle_of_a_frame_is_not_silent(serve: Serve) -> None:
    """It can't answer pings there, but bytes come."""
    options = ("lifespan off", "websocket {\nping_interval 200ms\nping_timeout 1500ms\n}")
    server = serve(asgi(SITE, *options), probe="/hello")
    with WebSocket(server, "/echo") as socket:
        socket.socket.sendall(bytes([0x82, 0x80 | 20]) + bytes(4))
        for _ in range(20):
            assert socket.receive().opcode == PING
            socket.socket.sendall(b"x")
        while (frame := socket.receive()).opcode == PING:
            socket.send(PONG)
        assert frame.payload == b"x" * 20


@pytest.mark.conformance("K15")
def test_a_silent_client_is_dropped_though_the_app_keeps_sending(
    serve: Serve, board: Board
) -> None:
    options = ("lifespan off", "websocket {\nping_interval 200ms\nping_timeout 400ms\n}")
    server = serve(asgi(SITE, *options), probe="/hello")
    server.allow_log("BrokenPipeError")
    with WebSocket(server, "/floods", board.headers, receive_buffer=65536):
        board.wait("over")


@pytest.mark.conformance("K15")
def test_a_client_that_waits_for_a_slow_app_is_not_dropped(serve: Serve, board: Board) -> None:
    options = ("lifespan off", "websocket {\nping_interval 200ms\nping_timeout 1s\n}")
    server = serve(asgi(SITE, *options), probe="/hello")
    with WebSocket(server, "/reads_when_told", board.headers) as socket:
        socket.socket.settimeout(2.5)
        with pytest.raises(TimeoutError):
            for _ in range(1000):
                socket.send(BINARY, bytes(65536))
        board.post("read")
        socket.connection.close()
    assert board.wait("code") == ["1006"]


# Many at once


@pytest.mark.smoke
def test_256_real_clients_talk_at_once_and_leave(server: Server, board: Board) -> None:
    uri = f"ws://{HOST}:{server.port}/messages"
    headers = dict(board.headers)

    async def talk(number: int) -> None:
        async with connect(uri, additional_headers=headers, open_timeout=60) as client:
            for count in range(10):
                await client.send(f"{number} {count}")
                assert json.loads(await client.recv())["text"] == f"{number} {count}"
            await client.close(3000 + number, f"I am {number}")

    async def crowd() -> None:
        await asyncio.gather(*(talk(number) for number in range(CROWD)))

    asyncio.run(crowd())
    ends = [json.loads(line) for line in board.wait("last", CROWD)]
    assert sorted(end["code"] for end in ends) == list(range(3000, 3000 + CROWD))
    assert all(end["reason"] == f"I am {end['code'] - 3000}" for end in ends)


def test_clients_that_come_and_go_leave_nothing_behind(server: Server, board: Board) -> None:
    """At every stage of the handshake and after it, in crowds."""
    lines = ["GET /listens HTTP/1.1", "Host: x", *(f"{n}: {v}" for n, v in HANDSHAKE)]
    lines += [f"{n}: {v}" for n, v in board.headers] + ["", ""]
    request = "\r\n".join(lines).encode()
    for cut in (len(request) - 1, len(request)):
        for _ in range(64):
            with server.connect() as connection:
                connection.send(request[:cut])
                connection.reset()
    wait_for(
        lambda: len(board.lines("last")) == len(board.lines("open")), "the apps that ran to end"
    )
    assert {json.loads(line)["code"] for line in board.lines("last")} <= {1006}


@pytest.mark.conformance("K12")
def test_random_bytes_do_no_harm(server: Server, board: Board) -> None:
    state = 1
    for number in range(100):
        noise = bytearray()
        for _ in range(64):
            state = (state * 1103515245 + 12345) & 0x7FFFFFFF
            noise += struct.pack("!I", state)
        with WebSocket(server, "/listens", board.headers) as socket:
            socket.socket.sendall(bytes(noise[number % 8 :]))
            socket.socket.shutdown(sockets.SHUT_WR)
            try:
                while socket.receive().opcode != CLOSE:
                    pass
            except (EOFError, ConnectionError):
                pass
    board.wait("last", 100)
