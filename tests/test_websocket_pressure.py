"""Websockets of which one side is slow, or sends without end: memory is bounded, order kept."""

from __future__ import annotations

import json
import struct
import threading

import pytest

from harness import proc
from harness.board import Board
from harness.caddyfile import asgi
from harness.plugin import Serve
from harness.server import Server
from harness.waiting import wait_for
from harness.websocket import BINARY, CLOSE, PING, PONG, WebSocket

MIB = 1 << 20
SITE = asgi("websocket_pressure:app", "lifespan off")


@pytest.fixture(scope="module")
def server(serve_module: Serve) -> Server:
    return serve_module(SITE, probe="/hello")


def settled(board: Board, name: str) -> int:
    """How many notes there are when no more come."""
    looks: list[int] = []

    def is_still() -> bool:
        looks.append(len(board.lines(name)))
        return len(looks) > 30 and len(set(looks[-30:])) == 1

    wait_for(is_still, f"the notes {name!r} to end", 30)
    return looks[-1]


def frame(payload: bytes, opcode: int = BINARY) -> bytes:
    """A whole frame, masked with zeros."""
    if len(payload) < 126:
        return bytes([0x80 | opcode, 0x80 | len(payload)]) + bytes(4) + payload
    return struct.pack("!BBQ", 0x80 | opcode, 0xFF, len(payload)) + bytes(4) + payload


@pytest.mark.conformance("K18")
def test_10000_pending_sends_wait_and_arrive_in_order(server: Server, board: Board) -> None:
    target = "/sends_from_10000_tasks"
    with WebSocket(server, target, board.headers, receive_buffer=65536) as socket:
        assert settled(board, "sent") < 500
        before = proc.rss(server.pid)
        for number in range(10_000):
            assert socket.receive().payload == number.to_bytes(4, "big") * 16384
        assert socket.receive().code == 1000
        assert proc.rss(server.pid) - before < 50 * MIB
    assert len(board.wait("sent", 10_000)) == 10_000


@pytest.mark.conformance("K18", "K09")
def test_pending_sends_end_with_the_client(server: Server, board: Board) -> None:
    target = "/sends_from_10000_tasks"
    with WebSocket(server, target, board.headers, receive_buffer=65536) as socket:
        assert settled(board, "sent") < 500
        socket.connection.reset()
        board.wait("over", deadline=30)
    sent, refused = len(board.lines("sent")), len(board.lines("refused"))
    assert sent + refused == 10_000
    assert refused > 9000
    wait_for(lambda: server.get("/tasks").text == "0", "the tasks to end")


@pytest.mark.conformance("K18")
def test_one_large_message_goes_out_whole(server: Server, board: Board) -> None:
    size = 64 * MIB
    with WebSocket(server, f"/sends_one_large_message?{size}", board.headers) as socket:
        assert len(socket.receive().payload) == size
        assert socket.receive().payload == b"after it"
        assert socket.receive().code == 1000


@pytest.mark.conformance("K19")
@pytest.mark.parametrize("size", [4, 1000, 200_000])
def test_what_a_slow_app_did_not_read_yet_waits_at_the_client(
    server: Server, board: Board, size: int
) -> None:
    """Messages of any size; all that were sent are received in the end, in order."""
    before = proc.rss(server.pid)
    sent = 0
    with WebSocket(server, "/reads_when_told", board.headers) as socket:
        socket.socket.settimeout(0.5)
        piece = b""
        try:
            while sent * size < 200 * MIB:
                numbers = range(sent, sent + max(1, 65536 // size))
                piece = b"".join(frame(n.to_bytes(4, "big") + bytes(size - 4)) for n in numbers)
                socket.socket.sendall(piece)
                sent += len(numbers)
            pytest.fail("the server read 200 MiB that nobody wanted")
        except TimeoutError:
            pass  # Some whole messages of the last piece may be on their way.
        assert proc.rss(server.pid) - before < 30 * MIB
        board.post("read")
        socket.connection.close()
    found = json.loads(board.wait("read all", deadline=30)[0])
    assert sent <= found["count"] <= sent + max(1, 65536 // size)
    assert found["size"] == found["count"] * size
    assert (found["ordered"], found["code"]) == (True, 1006)


@pytest.mark.conformance("K08", "K18")
def test_a_client_that_pings_and_never_reads_takes_no_memory(server: Server, board: Board) -> None:
    before = proc.rss(server.pid)
    pings = frame(bytes(125), PING) * 5000
    with WebSocket(server, "/waits", board.headers, receive_buffer=65536) as socket:
        socket.socket.settimeout(0.5)
        with pytest.raises(TimeoutError):
            for _ in range(300):  # 200 MB
                socket.socket.sendall(pings)
        assert proc.rss(server.pid) - before < 30 * MIB
        socket.connection.reset()
        assert json.loads(board.wait("last")[0])["code"] == 1006


@pytest.mark.conformance("K08")
def test_fragments_without_end_take_no_memory(server: Server, board: Board) -> None:
    """Empty fragments never add up to max_size."""
    before = proc.rss(server.pid)
    with WebSocket(server, "/counts", board.headers) as socket:
        socket.send(BINARY, b"", fin=False)
        empty = b"\x00\x80" + bytes(4)
        for _ in range(20):
            socket.socket.sendall(empty * 20_000)
        socket.send(PING, b"still there?")
        assert socket.receive().opcode == PONG
        assert proc.rss(server.pid) - before < 20 * MIB
        socket.send(0, b"the end")
        socket.close(1000)
        assert socket.receive().code == 1000
    assert board.wait("counted") == ["1 1000"]


@pytest.mark.conformance("K06")
def test_a_burst_of_small_messages_arrives_whole(server: Server, board: Board) -> None:
    with WebSocket(server, "/counts", board.headers) as socket:
        socket.socket.sendall(frame(b"") * 200_000)
        socket.close(4000)
        assert socket.receive().code == 4000
    assert board.wait("counted", deadline=30) == ["200000 4000"]


@pytest.mark.conformance("K18", "K19")
def test_both_sides_at_full_speed_finish(server: Server) -> None:
    """A client that sends while it does not read, as a proxy may, gets all of it back."""
    count, size = 2000, 10_000
    with WebSocket(server, "/echoes") as socket:

        def send() -> None:
            for number in range(count):
                socket.send(BINARY, number.to_bytes(4, "big") * (size // 4))

        sender = threading.Thread(target=send)
        sender.start()
        for number in range(count):
            assert socket.receive().payload == number.to_bytes(4, "big") * (size // 4)
        sender.join()


@pytest.mark.conformance("K09", "K19")
def test_a_close_behind_unread_messages_is_seen_after_them(server: Server, board: Board) -> None:
    with WebSocket(server, "/reads_when_told", board.headers) as socket:
        for number in range(100):
            socket.send(BINARY, number.to_bytes(4, "big"))
        socket.close(4000)
        answer = socket.receive()
        assert (answer.opcode, answer.code) == (CLOSE, 4000)
        assert socket.has_ended()
        board.post("read")
    found = json.loads(board.wait("read all")[0])
    assert found == {"count": 100, "size": 400, "ordered": True, "code": 4000}


@pytest.mark.conformance("K09", "K19")
def test_messages_before_a_reset_are_still_received(server: Server, board: Board) -> None:
    with WebSocket(server, "/reads_when_told", board.headers) as socket:
        for number in range(100):
            socket.send(BINARY, number.to_bytes(4, "big"))
        socket.send(PING)
        assert socket.receive().opcode == PONG
        socket.connection.reset()
    board.post("read")
    found = json.loads(board.wait("read all")[0])
    assert found == {"count": 100, "size": 400, "ordered": True, "code": 1006}


def test_memory_returns_after_large_messages(server: Server) -> None:
    """What one websocket needed is not kept for each."""
    with WebSocket(server, "/echoes") as socket:
        socket.send(BINARY, bytes(16 * MIB))
        assert len(socket.receive().payload) == 16 * MIB
    before = proc.rss(server.pid)
    sockets = [WebSocket(server, "/echoes") for _ in range(30)]
    for socket in sockets:
        socket.send(BINARY, bytes(8 * MIB))
        assert len(socket.receive().payload) == 8 * MIB
    wait_for(
        lambda: proc.rss(server.pid) - before < 60 * MIB,
        lambda: f"the memory to return; {(proc.rss(server.pid) - before) // MIB} MiB are left",
        15,
    )
    for socket in sockets:
        socket.connection.close()
