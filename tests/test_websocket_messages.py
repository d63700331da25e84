"""Messages over websockets, both ways (conformance section K)."""

from __future__ import annotations

import json
import zlib
from concurrent.futures import ThreadPoolExecutor

import pytest

from harness.board import Board
from harness.caddyfile import asgi
from harness.plugin import Serve
from harness.server import Server
from harness.websocket import BINARY, CLOSE, PING, PONG, TEXT, WebSocket

DEFLATE = [("Sec-WebSocket-Extensions", "permessage-deflate; client_max_window_bits")]
TAIL = b"\x00\x00\xff\xff"


@pytest.fixture(scope="module", params=["asyncio", "uvloop"])
def server(serve_module: Serve, request: pytest.FixtureRequest) -> Server:
    options = ("lifespan off", f"loop {request.param}", "websocket {\nmax_size 1MiB\n}")
    return serve_module(asgi("websocket_cases:app", *options), probe="/hello")


def deflated(data: bytes) -> bytes:
    compressor = zlib.compressobj(wbits=-15)
    whole = compressor.compress(data) + compressor.flush(zlib.Z_SYNC_FLUSH)
    return whole.removesuffix(TAIL)


def inflated(data: bytes) -> bytes:
    return zlib.decompressobj(wbits=-15).decompress(data + TAIL)


@pytest.mark.smoke
@pytest.mark.conformance("K06")
@pytest.mark.parametrize(
    ("opcode", "payload", "message"),
    [
        (TEXT, "gr\u00fc\u00df".encode(), {"text": "gr\u00fc\u00df"}),
        (BINARY, b"\x00\xff", {"bytes": "\x00\xff"}),
        (TEXT, b"", {"text": ""}),
        (BINARY, b"", {"bytes": ""}),
    ],
)
def test_a_message_has_text_or_bytes(
    server: Server, board: Board, opcode: int, payload: bytes, message: dict[str, str]
) -> None:
    with WebSocket(server, "/messages", board.headers) as socket:
        socket.send(opcode, payload)
        assert json.loads(socket.receive().payload) == {"type": "websocket.receive", **message}


@pytest.mark.smoke
@pytest.mark.conformance("K07")
def test_messages_that_make_no_sense_raise_in_the_app(server: Server) -> None:
    with WebSocket(server, "/mistakes") as socket:
        assert json.loads(socket.receive().payload) == [
            *["ValueError"] * 3,
            *["TypeError"] * 2,
            *["RuntimeError"] * 3,
            "ValueError",
            "TypeError",
            *["ValueError"] * 3,
        ]
        assert socket.receive().code == 1000


@pytest.mark.conformance("K08")
def test_fragments_make_one_message_and_pings_come_between(server: Server) -> None:
    with WebSocket(server, "/echo") as socket:
        socket.send(TEXT, b"one ", fin=False)
        socket.send(PING, b"are you there?")
        socket.send(0, b"two ", fin=False)
        socket.send(0, b"three")
        pong, message = socket.receive(), socket.receive()
        assert (pong.opcode, pong.payload) == (PONG, b"are you there?")
        assert (message.opcode, message.payload) == (TEXT, b"one two three")


@pytest.mark.parametrize("size", [125, 126, 65535, 65536, 1 << 20])
def test_messages_of_any_size_up_to_the_limit(server: Server, size: int) -> None:
    data = bytes(i & 255 for i in range(size))
    with WebSocket(server, "/echo") as socket:
        socket.send(BINARY, data)
        assert socket.receive().payload == data


def test_a_larger_message_closes_with_1009(server: Server, board: Board) -> None:
    with WebSocket(server, "/listens", board.headers) as socket:
        socket.send(BINARY, length=(1 << 20) + 1)
        assert socket.receive().code == 1009
        (last,) = board.wait("last")
        assert json.loads(last)["code"] == 1009


def test_fragments_that_add_up_to_too_much_close_with_1009(server: Server, board: Board) -> None:
    with WebSocket(server, "/listens", board.headers) as socket:
        socket.send(BINARY, bytes(1 << 19), fin=False)
        socket.send(0, bytes(1 << 19), fin=False)
        socket.send(0, b"x")
        assert socket.receive().code == 1009


@pytest.mark.conformance("K12")
@pytest.mark.parametrize(
    ("frame", "code"),
    [
        ({"opcode": TEXT, "payload": b"\xff\xfe"}, 1007),
        ({"opcode": TEXT, "payload": b"x", "masked": False}, 1002),
        ({"opcode": TEXT, "payload": b"x", "rsv": 4}, 1002),
        ({"opcode": TEXT, "payload": b"x", "rsv": 1}, 1002),
        ({"opcode": 3, "payload": b"x"}, 1002),
        ({"opcode": 11, "payload": b""}, 1002),
        ({"opcode": PING, "payload": bytes(126)}, 1002),
        ({"opcode": PING, "payload": b"x", "fin": False}, 1002),
        ({"opcode": 0, "payload": b"x"}, 1002),
        ({"opcode": CLOSE, "payload": b"\x03"}, 1002),
        ({"opcode": CLOSE, "payload": b"\x03\xed"}, 1002),
        ({"opcode": CLOSE, "payload": b"\x03\xe8\xff"}, 1007),
        ({"opcode": BINARY, "payload": b"", "length": 1 << 63}, 1002),
    ],
    ids=lambda value: str(value),
)
def test_what_breaks_the_protocol_is_refused(
    server: Server, board: Board, frame: dict[str, object], code: int
) -> None:
    with WebSocket(server, "/listens", board.headers) as socket:
        socket.send(**frame)  # type: ignore[arg-type]
        answer = socket.receive()
        assert (answer.opcode, answer.code) == (CLOSE, code)
        assert socket.has_ended()
        (last,) = board.wait("last")
        assert json.loads(last)["code"] == code


@pytest.mark.conformance("K14")
def test_no_compression_unless_it_is_offered(server: Server) -> None:
    with WebSocket(server, "/echo") as socket:
        assert socket.all("sec-websocket-extensions") == []
        socket.text("x" * 10000)
        frame = socket.receive()
        assert (frame.rsv, len(frame.payload)) == (0, 10000)


@pytest.mark.conformance("K14")
def test_compressed_messages_each_stand_alone(server: Server) -> None:
    with WebSocket(server, "/echo", DEFLATE) as socket:
        (answer,) = socket.all("sec-websocket-extensions")
        assert "server_no_context_takeover" in answer
        assert "client_no_context_takeover" in answer
        for text in (b"small", b"large " * 2000, b""):
            socket.send(TEXT, deflated(text), rsv=4)
            frame = socket.receive()
            assert (inflated(frame.payload) if frame.rsv == 4 else frame.payload) == text
        socket.send(TEXT, b"not compressed")
        assert socket.receive().payload == b"not compressed"


@pytest.mark.conformance("K14")
@pytest.mark.parametrize(
    ("payload", "rsv", "code"),
    [(deflated(bytes(1 << 21)), 4, 1009), (b"\xff" * 20, 4, 1007), (b"x", 5, 1002)],
    ids=["bomb", "garbage", "another bit"],
)
def test_compressed_nonsense_is_refused(
    server: Server, payload: bytes, rsv: int, code: int
) -> None:
    with WebSocket(server, "/echo", DEFLATE) as socket:
        socket.send(BINARY, payload, rsv=rsv)
        assert socket.receive().code == code


@pytest.mark.conformance("K14")
def test_compression_can_be_turned_off(serve: Serve) -> None:
    options = ("lifespan off", "websocket {\ncompression off\n}")
    server = serve(asgi("websocket_cases:app", *options), probe="/hello")
    with WebSocket(server, "/echo", DEFLATE) as socket:
        assert socket.all("sec-websocket-extensions") == []


def test_256_clients_talk_at_once(server: Server) -> None:
    def talk(number: int) -> list[bytes]:
        with WebSocket(server, "/echo") as socket:
            for count in range(20):
                socket.text(f"{number} {count}")
            return [socket.receive().payload for _ in range(20)]

    with ThreadPoolExecutor(64) as pool:
        for number, got in enumerate(pool.map(talk, range(256))):
            assert got == [b"%d %d" % (number, count) for count in range(20)]
