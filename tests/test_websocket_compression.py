"""permessage-deflate (RFC 7692): what is agreed on, and what is done with broken input (K14)."""

from __future__ import annotations

import zlib
from functools import cache

import pytest
from websockets.extensions.permessage_deflate import ClientPerMessageDeflateFactory
from websockets.sync.client import connect

from harness import proc
from harness.caddyfile import asgi
from harness.plugin import Serve
from harness.ports import HOST
from harness.server import Server
from harness.websocket import BINARY, CLOSE, PING, PONG, TEXT, Frame, WebSocket

pytestmark = pytest.mark.conformance("K14")

MIB = 1 << 20
RSV1 = 4
TAIL = b"\x00\x00\xff\xff"
OFFER = [("Sec-WebSocket-Extensions", "permessage-deflate")]


@pytest.fixture(scope="module")
def server(serve_module: Serve) -> Server:
    return serve_module(asgi("websocket_cases:app", "lifespan off"), probe="/hello")


def deflated(data: bytes, level: int = 6) -> bytes:
    compressor = zlib.compressobj(level, wbits=-15)
    return (compressor.compress(data) + compressor.flush(zlib.Z_SYNC_FLUSH)).removesuffix(TAIL)


def content(frame: Frame) -> bytes:
    """What a message says, however it was sent. Each stands alone, as was agreed on."""
    if frame.rsv != RSV1:
        return frame.payload
    return zlib.decompressobj(wbits=-15).decompress(frame.payload + TAIL)


@pytest.mark.parametrize(
    ("offers", "accepted"),
    [
        (["permessage-deflate"], True),
        (["permessage-deflate; client_max_window_bits"], True),
        (["permessage-deflate; client_max_window_bits=10"], True),
        (["permessage-deflate; server_no_context_takeover"], True),
        (["permessage-deflate; client_no_context_takeover"], True),
        (["permessage-deflate; server_max_window_bits=15"], True),
        (["permessage-deflate; server_max_window_bits=9"], False),
        (["permessage-deflate; server_max_window_bits=9, permessage-deflate"], True),
        (["permessage-deflate; server_max_window_bits=9", "permessage-deflate"], True),
        (["permessage-deflate; client_max_window_bits=7"], False),
        (["permessage-deflate; client_max_window_bits=16"], False),
        (["permessage-deflate; server_max_window_bits"], False),
        (["permessage-deflate; server_no_context_takeover=1"], False),
        (["permessage-deflate; unknown"], False),
        (["permessage-deflate; unknown, permessage-deflate"], True),
        (["x-webkit-deflate-frame"], False),
        (["x-unknown; a=1, permessage-deflate"], True),
    ],
)
def test_an_offer_is_agreed_on_or_declined(
    server: Server, offers: list[str], accepted: bool
) -> None:
    """Either way the websocket works."""
    headers = [("Sec-WebSocket-Extensions", offer) for offer in offers]
    with WebSocket(server, "/echo", headers) as socket:
        answers = socket.all("sec-websocket-extensions")
        assert [answer.partition(";")[0] for answer in answers] == ["permessage-deflate"] * accepted
        socket.text("plain " * 1000)
        frame = socket.receive()
        assert frame.rsv == (RSV1 if accepted else 0)
        assert content(frame) == b"plain " * 1000


@pytest.mark.parametrize(
    ("offers", "status"),
    [(["permessage-deflate; ="], (101, 400)), (['permessage-deflate; a="'], (101, 400))],
)
def test_an_offer_that_is_no_header_value_does_no_harm(
    server: Server, offers: list[str], status: tuple[int, int]
) -> None:
    headers = [("Sec-WebSocket-Extensions", offer) for offer in offers]
    server.allow_log(".")
    with WebSocket(server, "/echo", headers) as socket:
        found = socket.refusal.status if socket.refusal else 101
        assert found in status
        assert socket.all("sec-websocket-extensions") == []


@pytest.mark.parametrize(
    "factory",
    [
        ClientPerMessageDeflateFactory(),
        ClientPerMessageDeflateFactory(client_max_window_bits=9),
        ClientPerMessageDeflateFactory(
            server_no_context_takeover=True, client_no_context_takeover=True
        ),
        ClientPerMessageDeflateFactory(compress_settings={"level": 9}),
    ],
    ids=["plain", "small window", "no takeover", "level 9"],
)
def test_a_real_client_talks_compressed(
    server: Server, factory: ClientPerMessageDeflateFactory
) -> None:
    messages = ["", "x", "gr\u00fc\u00df " * 50_000, "".join(map(str, range(200_000)))]
    uri = f"ws://{HOST}:{server.port}/echo"
    with connect(uri, extensions=[factory], compression=None, max_size=None) as client:
        assert client.protocol.extensions
        for message in messages * 3:
            client.send(message)
            assert client.recv() == message
        for data in (b"", bytes(MIB), zlib.compress(bytes(range(256)) * 1000)):
            client.send(data)
            assert client.recv() == data


def test_fragments_of_a_compressed_message_and_a_ping_between(server: Server) -> None:
    data = deflated(b"in many pieces " * 1000)
    with WebSocket(server, "/echo", OFFER) as socket:
        socket.send(TEXT, data[:1], fin=False, rsv=RSV1)
        socket.send(0, b"", fin=False)
        socket.send(PING, b"between")
        for byte in data[1:-1]:
            socket.send(0, bytes([byte]), fin=False)
        socket.send(0, data[-1:], fin=False)
        socket.send(0, b"")
        pong = socket.receive()
        assert (pong.opcode, pong.rsv, pong.payload) == (PONG, 0, b"between")
        assert content(socket.receive()) == b"in many pieces " * 1000


def test_a_message_may_end_with_a_final_block(server: Server) -> None:
    """RFC 7692 section 7.2.3.4: BFINAL may be set."""
    compressor = zlib.compressobj(wbits=-15)
    data = compressor.compress(b"the end") + compressor.flush() + b"\0"
    with WebSocket(server, "/echo", OFFER) as socket:
        socket.send(TEXT, data, rsv=RSV1)
        assert content(socket.receive()) == b"the end"


def test_a_message_may_have_several_blocks_and_stored_ones(server: Server) -> None:
    compressor = zlib.compressobj(wbits=-15)
    data = b"".join(
        compressor.compress(part) + compressor.flush(zlib.Z_SYNC_FLUSH)
        for part in (b"one ", b"two")
    ).removesuffix(TAIL)
    with WebSocket(server, "/echo", OFFER) as socket:
        socket.send(TEXT, data, rsv=RSV1)
        assert content(socket.receive()) == b"one two"
        socket.send(TEXT, deflated(b"stored", level=0), rsv=RSV1)
        assert content(socket.receive()) == b"stored"


@pytest.mark.conformance("K12")
@pytest.mark.parametrize(
    ("frames", "code"),
    [
        ([{"opcode": PING, "rsv": RSV1}], 1002),
        ([{"opcode": CLOSE, "rsv": RSV1, "payload": b"\x03\xe8"}], 1002),
        (
            [
                {"opcode": TEXT, "rsv": RSV1, "payload": deflated(b"a"), "fin": False},
                {"opcode": 0, "rsv": RSV1, "payload": b""},
            ],
            1002,
        ),
        (
            [
                {"opcode": TEXT, "payload": b"a", "fin": False},
                {"opcode": 0, "rsv": RSV1, "payload": b"b"},
            ],
            1002,
        ),
        ([{"opcode": TEXT, "rsv": RSV1, "payload": deflated(b"\xff\xfe")}], 1007),
        ([{"opcode": TEXT, "rsv": RSV1, "payload": b"\xff" * 20}], 1007),
        ([{"opcode": TEXT, "payload": b"\xff\xfe"}], 1007),
    ],
    ids=["ping", "close", "continuation", "late start", "not UTF-8", "garbage", "plain not UTF-8"],
)
def test_broken_compression_is_refused(
    server: Server, frames: list[dict[str, object]], code: int
) -> None:
    with WebSocket(server, "/echo", OFFER) as socket:
        for frame in frames:
            socket.send(**frame)  # type: ignore[arg-type]
        answer = socket.receive()
        assert (answer.opcode, answer.code) == (CLOSE, code)
        assert socket.has_ended()


def test_data_that_is_cut_off_is_refused_or_taken_as_far_as_it_goes(server: Server) -> None:
    data = deflated(bytes(range(256)) * 20)
    with WebSocket(server, "/echo", OFFER) as socket:
        socket.send(BINARY, data[: len(data) // 2], rsv=RSV1)
        assert socket.receive().code == 1007


@cache
def bomb() -> bytes:
    compressor = zlib.compressobj(9, wbits=-15)
    data = b"".join(compressor.compress(bytes(MIB)) for _ in range(512))
    return data + compressor.flush(zlib.Z_SYNC_FLUSH).removesuffix(TAIL)


@pytest.mark.parametrize("fragments", [1, 40])
def test_a_bomb_is_not_inflated(server: Server, fragments: int) -> None:
    """512 MiB of zeros are half a MiB on the wire."""
    data = bomb()
    size = len(data) // fragments + 1
    pieces = [data[at : at + size] for at in range(0, len(data), size)]
    before = proc.rss(server.pid)
    with WebSocket(server, "/echo", OFFER) as socket:
        for number, piece in enumerate(pieces):
            first = number == 0
            socket.send(
                BINARY if first else 0,
                piece,
                rsv=RSV1 if first else 0,
                fin=number == len(pieces) - 1,
            )
        assert socket.receive().code == 1009
    assert proc.rss(server.pid) - before < 80 * MIB


def test_16_mib_of_zeros_are_still_a_message(server: Server) -> None:
    data = bytes(16 * MIB)
    with WebSocket(server, "/echo", OFFER) as socket:
        socket.send(BINARY, deflated(data), rsv=RSV1)
        frame = socket.receive()
        assert frame.rsv == RSV1
        assert content(frame) == data
        socket.send(BINARY, deflated(data + b"\0"), rsv=RSV1)
        assert socket.receive().code == 1009


def test_the_compressor_keeps_nothing_of_one_client_for_another(server: Server) -> None:
    """They share compressors: after a failure, and after each other's messages."""
    sockets = [WebSocket(server, "/echo", OFFER) for _ in range(8)]
    for turn in range(20):
        for number, socket in enumerate(sockets):
            socket.send(TEXT, deflated(b"client %d " % number * 500), rsv=RSV1)
        with WebSocket(server, "/echo", OFFER) as broken:
            broken.send(TEXT, b"\xff" * (turn + 5), rsv=RSV1)
            assert broken.receive().code == 1007
        for number, socket in enumerate(sockets):
            assert content(socket.receive()) == b"client %d " % number * 500
    for socket in sockets:
        socket.connection.close()
