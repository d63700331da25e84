"""Responses that are sent in pieces: what is sent when, write(), and who waits for whom."""

from __future__ import annotations

import pytest

from harness import http1, proc, slow_reader
from harness.board import Board
from harness.caddyfile import wsgi
from harness.plugin import Serve
from harness.server import Server
from harness.ways import EVERY_STREAM, EVERY_WAY, HTTP1, LARGE, WAYS, ask, connect1, connect_streams

MIB, GIB = 1 << 20, 1 << 30

BLOCKS = [b"block %d" % number for number in range(4)]


@pytest.fixture(scope="module")
def server(serve_module: Serve) -> Server:
    app = wsgi("wsgi_streaming:app")
    return serve_module(app, app, tls=True, probe="/hello")


def plain(server: Server, **options: int) -> http1.Connection:
    """A connection to the site without TLS."""
    return http1.Connection(server.ports[1], **options)


# Each block is sent before the next is asked for


@pytest.mark.conformance("S06", "S10")
@pytest.mark.parametrize("way", HTTP1)
@pytest.mark.parametrize("target", ["/block_by_block", "/write_by_write"])
def test_each_block_is_sent_before_the_next_is_asked_for(
    server: Server, board: Board, way: str, target: str
) -> None:
    with connect1(server, way) as connection:
        connection.request("GET", target, board.headers)
        connection.head()
        pieces = connection.chunks()
        for number, block in enumerate(BLOCKS):
            assert next(pieces) == block
            assert len(board.lines("asked")) == number + 1
            board.post(f"got {number}")
        assert next(pieces, b"the end") == b"the end"


@pytest.mark.conformance("S06", "S10")
@pytest.mark.parametrize("way", EVERY_STREAM)
@pytest.mark.parametrize("target", ["/block_by_block", "/write_by_write"])
def test_each_block_is_sent_before_the_next_over_http_2(
    server: Server, board: Board, way: str, target: str
) -> None:
    with connect_streams(server, way) as connection:
        stream = connection.start("GET", target, board.headers)
        for number in range(len(BLOCKS)):
            sent = b"".join(BLOCKS[: number + 1])
            found = connection.wait(stream, lambda s, sent=sent: len(s.body) >= len(sent))
            assert found.body == sent
            assert len(board.lines("asked")) == number + 1
            board.post(f"got {number}")
        assert connection.response(stream).ended


@pytest.mark.conformance("S10", "M08")
def test_blocks_pass_through_compression_one_by_one(serve: Serve, board: Board) -> None:
    """Would the encoder hold back a block, the app would wait for a note that never comes."""
    server = serve(f"encode gzip {{\nminimum_length 1\n}}\n{wsgi('wsgi_streaming:app')}")
    with server.connect() as connection:
        headers = [("Accept-Encoding", "gzip"), *board.headers]
        connection.request("GET", "/block_by_block", headers)
        assert connection.head().get("content-encoding") == "gzip"
        pieces = connection.chunks()
        for number in range(len(BLOCKS)):
            board.wait("asked", number + 1)
            assert next(pieces)
            board.post(f"got {number}")
        list(pieces)


@pytest.mark.conformance("S10")
@pytest.mark.parametrize("way", EVERY_WAY)
def test_many_small_blocks_arrive_in_order(server: Server, way: str) -> None:
    response = ask(server, way, "GET", "/many_small_blocks")
    assert response.broken is None
    assert response.text.split() == [str(number) for number in range(5000)]


@pytest.mark.conformance("S13")
@pytest.mark.parametrize("way", EVERY_WAY)
@pytest.mark.parametrize(
    "size", [64 << 10, 256 << 10, (256 << 10) + 256, pytest.param(None, id="large")]
)
def test_a_block_of_any_size_arrives_whole(server: Server, way: str, size: int | None) -> None:
    size = size or LARGE[way]
    response = ask(server, way, "GET", f"/one_large_block?{size}")
    assert response.get("content-length") == str(size)
    assert response.body == bytes(range(256)) * (size // 256)


@pytest.mark.conformance("S10")
def test_the_blocks_of_a_list_are_joined(server: Server) -> None:
    """All of them are there, so they need not be sent one by one."""
    before = proc.cpu_seconds(server.pid)
    response = ask(server, "HTTP/1.1", "GET", "/a_list_of?300000")
    assert response.body == b"0123456789" * 30_000
    assert response.get("content-length") == "300000"
    assert proc.cpu_seconds(server.pid) - before < 2


@pytest.mark.conformance("S10", "S13")
@pytest.mark.parametrize("way", EVERY_WAY)
def test_a_list_of_blocks_of_all_sizes_arrives_whole(server: Server, way: str) -> None:
    response = ask(server, way, "GET", "/a_list_of_all_sizes")
    sizes = [0, 1, 1000, 0, 256 << 10, 1, (256 << 10) - 1, 1, 1, 1 << 20, 0, 0]
    assert response.body == b"".join(bytes([number]) * size for number, size in enumerate(sizes))


# write()


@pytest.mark.conformance("S06")
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(
    ("target", "text"),
    [
        ("/written_first", "one two three four"),
        ("/written_only", "all of it"),
        ("/written_with_length", "all of it"),
        ("/written_with_length_and_more", "all of it"),
        ("/written_within_the_generator", "one two three"),
        ("/written_by_another_thread", "".join(f"{n} " for n in range(100)) + "end"),
    ],
)
def test_what_is_written_comes_in_order(server: Server, way: str, target: str, text: str) -> None:
    response = ask(server, way, "GET", target)
    assert (response.status, response.text, response.broken) == (200, text, None)


@pytest.mark.conformance("S06", "S18")
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(
    "target", ["/written_first", "/written_only", "/written_with_length", "/written_large"]
)
def test_what_is_written_for_head_is_dropped(server: Server, way: str, target: str) -> None:
    response = ask(server, way, "HEAD", target)
    assert (response.status, response.body, response.broken) == (200, b"", None)


@pytest.mark.conformance("S06")
@pytest.mark.parametrize("way", EVERY_WAY)
def test_large_data_may_be_written(server: Server, way: str) -> None:
    response = ask(server, way, "GET", "/written_large")
    assert response.body == b"".join(bytes([n]) * MIB for n in range(4)) + b"end"


# Clients that leave


@pytest.mark.conformance("S12")
@pytest.mark.parametrize("way", HTTP1)
@pytest.mark.parametrize("how", ["close", "reset"])
@pytest.mark.parametrize(
    ("target", "noted"),
    [("/until_the_client_is_gone", "wsgi-"), ("/writes_until_the_client_is_gone", "BrokenPipe")],
)
def test_nothing_is_made_for_a_client_that_has_left(
    server: Server, board: Board, way: str, how: str, target: str, noted: str
) -> None:
    """And the end of the generator runs where Python code runs, on a thread of the pool."""
    connection = connect1(server, way)
    connection.request("GET", target, board.headers)
    connection.head()
    assert next(connection.chunks()) == b"first"
    connection.reset() if how == "reset" else connection.close()
    board.post("left")
    (line,) = board.wait("closed")
    assert line.startswith(noted)
    # One write may succeed before the kernel hears that nobody is there.
    assert len(board.lines("sent")) <= 3


@pytest.mark.conformance("S12")
@pytest.mark.parametrize("how", ["cancel", "close"])
@pytest.mark.parametrize(
    ("target", "noted"),
    [("/until_the_client_is_gone", "wsgi-"), ("/writes_until_the_client_is_gone", "BrokenPipe")],
)
def test_nothing_is_made_for_a_stream_that_was_cancelled(
    server: Server, board: Board, how: str, target: str, noted: str
) -> None:
    with server.connect2() as connection:
        number = connection.start("GET", target, board.headers)
        connection.wait(number, lambda stream: stream.body == b"first")
        connection.cancel(number) if how == "cancel" else connection.close()
        # Frames take their time, so that some blocks may still be taken.
        board.post("left")
        (line,) = board.wait("closed")
    assert line.startswith(noted)


# Slow clients


@pytest.mark.conformance("S10", "S12")
def test_the_app_waits_for_a_client_that_does_not_read(server: Server, board: Board) -> None:
    slow_reader.check_lead(server, board, "asked")


@pytest.mark.conformance("S10", "I08")
def test_a_gigabyte_goes_down_to_a_slow_reader_through_flat_memory(
    server: Server, board: Board
) -> None:
    slow_reader.check_gigabyte(server, board, "asked")
