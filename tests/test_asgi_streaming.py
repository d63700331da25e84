"""ASGI responses in pieces: what is sent when, and who waits for whom (conformance section E)."""

from __future__ import annotations

import gzip
import itertools
import zlib
from contextlib import ExitStack

import pytest

from harness import proc, slow_reader
from harness.board import Board
from harness.caddyfile import asgi
from harness.plugin import Serve
from harness.server import Server
from harness.waiting import wait_for
from harness.ways import EVERY_STREAM, EVERY_WAY, HTTP1, STREAMS, ask, connect1, connect_streams

MIB, GIB = 1 << 20, 1 << 30

PIECES = [b"piece %d" % number for number in range(4)]


@pytest.fixture(scope="module", params=["asyncio", "uvloop"])
def server(serve_module: Serve, request: pytest.FixtureRequest) -> Server:
    app = asgi("asgi_streaming:app", "lifespan off", f"loop {request.param}")
    return serve_module(app, app, tls=True, probe="/hello")


# Each piece is sent before the next


@pytest.mark.smoke
@pytest.mark.conformance("E24", "E25")
@pytest.mark.parametrize("way", HTTP1)
def test_each_piece_is_sent_before_the_next(server: Server, board: Board, way: str) -> None:
    with connect1(server, way) as connection:
        connection.request("GET", "/piece_by_piece", board.headers)
        connection.head()
        pieces = connection.chunks()
        for number, piece in enumerate(PIECES):
            assert next(pieces) == piece
            assert len(board.lines("asked")) == number + 1
            board.post(f"got {number}")
        assert next(pieces, b"the end") == b"the end"


@pytest.mark.conformance("E24", "E25")
@pytest.mark.parametrize("way", EVERY_STREAM)
def test_each_piece_is_sent_before_the_next_over_http_2(
    server: Server, board: Board, way: str
) -> None:
    with connect_streams(server, way) as connection:
        stream = connection.start("GET", "/piece_by_piece", board.headers)
        for number in range(len(PIECES)):
            sent = b"".join(PIECES[: number + 1])
            found = connection.wait(stream, lambda s, sent=sent: len(s.body) >= len(sent))
            assert found.body == sent
            assert len(board.lines("asked")) == number + 1
            board.post(f"got {number}")
        assert connection.response(stream).ended


@pytest.mark.conformance("E25")
@pytest.mark.parametrize("way", HTTP1)
def test_an_empty_piece_sends_the_head(server: Server, board: Board, way: str) -> None:
    with connect1(server, way) as connection:
        connection.request("GET", "/head_first", board.headers)
        assert connection.head().get("x-early") == "yes"
        board.post("go")
        assert b"".join(connection.chunks()) == b"late"


@pytest.mark.conformance("E25")
@pytest.mark.parametrize("way", EVERY_STREAM)
def test_an_empty_piece_sends_the_head_over_http_2(server: Server, board: Board, way: str) -> None:
    with connect_streams(server, way) as connection:
        number = connection.start("GET", "/head_first", board.headers)
        found = connection.wait(number, lambda stream: stream.status is not None)
        assert (found.status, found.all("x-early"), found.body) == (200, ["yes"], b"")
        board.post("go")
        assert connection.response(number).body == b"late"


@pytest.mark.conformance("E25")
def test_streams_that_rest_give_their_memory_back_and_go_on(serve: Serve, board: Board) -> None:
    server = serve(asgi("asgi_streaming:app", "lifespan off"), probe="/hello")
    with ExitStack() as stack:
        connections = [stack.enter_context(server.connect()) for _ in range(100)]
        bodies = []
        for connection in connections:
            connection.request("GET", "/two_halves", board.headers)
            connection.head()
            bodies.append(connection.chunks())
        read = [next(body) for body in bodies]
        before = proc.rss(server.pid)
        wait_for(lambda: proc.rss(server.pid) < before - 3 * MIB, "the memory of 100 streams")
        board.post("go")
        for first, body in zip(read, bodies, strict=True):
            assert first + b"".join(body) == b"1" * 50_000 + b"2" * 50_000


def go_on_until_closed(board: Board, number: int) -> None:
    """Lets the app send events, from this number on, until it learns that its client has left."""
    numbers = itertools.count(number)

    def is_closed() -> bool:
        board.post(f"got {next(numbers)}")
        return bool(board.lines("closed"))

    wait_for(is_closed, "the end of the events")


@pytest.mark.conformance("E25")
@pytest.mark.parametrize("version", ["HTTP/1.0", "HTTP/1.1"])
def test_events_come_one_by_one_for_old_clients_too(
    server: Server, board: Board, version: str
) -> None:
    with connect1(server, "HTTP/1.1") as connection:
        connection.request("GET", "/events", board.headers, version=version)
        assert connection.head().get("content-type") == "text/event-stream"
        pieces = connection.chunks()
        for number in range(5):
            assert next(pieces) == b"data: %d\n\n" % number
            board.post(f"got {number}")
        assert next(pieces) == b"data: 5\n\n"
    go_on_until_closed(board, 5)


@pytest.mark.smoke
@pytest.mark.conformance("E25", "M08")
@pytest.mark.parametrize("encoding", ["gzip", "zstd"])
def test_events_pass_through_compression_one_by_one(
    serve: Serve, board: Board, encoding: str
) -> None:
    """Would the encoder hold back an event, the app would wait for a note that never comes."""
    encode = "encode zstd gzip {\nminimum_length 1\nmatch header Content-Type text/*\n}"
    server = serve(f"{encode}\n{asgi('asgi_streaming:app', 'lifespan off')}", probe="/hello")
    with server.connect() as connection:
        headers = [("Accept-Encoding", encoding), *board.headers]
        connection.request("GET", "/events", headers)
        assert connection.head().get("content-encoding") == encoding
        pieces = connection.chunks()
        unpack = zlib.decompressobj(wbits=31)
        for number in range(5):
            piece = next(pieces)
            if encoding == "gzip":
                # The encoder's header may come as a piece of its own.
                data = unpack.decompress(piece)
                while not data:
                    data = unpack.decompress(next(pieces))
                assert data == b"data: %d\n\n" % number
            assert piece
            board.post(f"got {number}")
    go_on_until_closed(board, 5)


@pytest.mark.conformance("E25", "M08")
def test_a_compressed_stream_is_whole(serve: Serve) -> None:
    app = asgi("asgi_streaming:app", "lifespan off")
    server = serve(f"encode gzip {{\nminimum_length 1\nmatch status 200\n}}\n{app}")
    response = server.get("/many_small_pieces", [("Accept-Encoding", "gzip")])
    assert (response.get("content-encoding"), response.broken) == ("gzip", None)
    assert gzip.decompress(response.body).split() == [b"%d" % n for n in range(5000)]


@pytest.mark.conformance("E24")
@pytest.mark.parametrize("way", EVERY_WAY)
def test_many_small_pieces_arrive_in_order(server: Server, way: str) -> None:
    response = ask(server, way, "GET", "/many_small_pieces")
    assert response.broken is None
    assert response.text.split() == [str(number) for number in range(5000)]


@pytest.mark.conformance("E24", "E28")
@pytest.mark.parametrize("way", ["HTTP/1.1", "HTTP/2"])
def test_sends_that_are_awaited_together_arrive_in_order(server: Server, way: str) -> None:
    response = ask(server, way, "GET", "/sends_at_once")
    assert response.text.split() == [str(number) for number in range(1000)]


@pytest.mark.conformance("E24", "E28")
@pytest.mark.parametrize("way", ["HTTP/1.1", "HTTP/2"])
def test_several_tasks_may_send_and_no_piece_is_torn(server: Server, way: str) -> None:
    response = ask(server, way, "GET", "/several_tasks_send")
    pieces = [response.body[at : at + 100_000] for at in range(0, len(response.body), 100_000)]
    assert sorted(piece[:1] * 100_000 == piece for piece in pieces) == [True] * 64
    assert sorted(piece[0] for piece in pieces) == sorted(b"abcdefgh" * 8)


# Slow clients


@pytest.mark.smoke
@pytest.mark.conformance("E24")
@pytest.mark.parametrize("way", HTTP1)
def test_a_stalled_reader_pauses_the_app(server: Server, board: Board, way: str) -> None:
    before = proc.rss(server.pid)
    with connect1(server, way, receive_buffer=65536) as connection:
        connection.request("GET", "/flood", board.headers)
        # What was handed over sits in the kernel's socket buffers and in a bounded one of ours.
        assert board.wait_until_still("sent") * 65536 < 16 * MIB
        assert proc.rss(server.pid) - before < 30 * MIB
        assert board.lines("over") == []
        # Neither the app's other requests nor other connections have to wait.
        assert ask(server, way, "GET", "/one_at_a_time").text == "turning"
        # Once somebody reads again, everything comes.
        assert len(connection.response().body) == 2000 * 65536
    board.wait("over")


@pytest.mark.conformance("E24")
@pytest.mark.parametrize("way", STREAMS)
def test_a_closed_window_pauses_the_app(server: Server, board: Board, way: str) -> None:
    """Nothing is acknowledged while nobody takes frames in."""
    with connect_streams(server, way) as connection:
        number = connection.start("GET", "/flood", board.headers)
        assert board.wait_until_still("sent") * 65536 < 4 * MIB
        assert board.lines("over") == []
        assert ask(server, way, "GET", "/one_at_a_time").text == "turning"
        connection.wait(number, lambda stream: len(stream.body) > 4 * MIB)
        connection.cancel(number)
        board.wait("over")


@pytest.mark.conformance("E24", "E28")
def test_a_send_whose_wait_is_cut_short_loses_and_doubles_nothing(
    server: Server, board: Board
) -> None:
    with connect1(server, "HTTP/1.1", receive_buffer=4096) as connection:
        connection.request("GET", "/flood_under_a_timeout", board.headers)
        board.wait("timed out", 3)
        board.post("read")
        body = connection.response().body
    board.wait("over")
    assert body == b"".join(bytes([number]) * 65536 for number in range(200))


@pytest.mark.conformance("E24")
def test_the_app_is_never_far_ahead_of_a_slow_reader(server: Server, board: Board) -> None:
    slow_reader.check_lead(server, board, "sent")


@pytest.mark.conformance("E24")
def test_a_gigabyte_goes_down_to_a_slow_reader_through_flat_memory(
    server: Server, board: Board
) -> None:
    slow_reader.check_gigabyte(server, board, "sent")
