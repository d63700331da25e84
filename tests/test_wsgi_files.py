"""`wsgi.file_wrapper`: files as responses, sent by the kernel or block by block (S28)."""

from __future__ import annotations

import gzip
import hashlib
import json
import os
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest

from harness import http1, proc
from harness.board import Board
from harness.caddyfile import wsgi
from harness.health import FILES
from harness.plugin import Serve
from harness.server import Server
from harness.ways import EVERY_WAY, WAYS, ask

pytestmark = pytest.mark.conformance("S28")

MIB, GIB = 1 << 20, 1 << 30
CONTENT = bytes(range(256)) * 1200 + b"end"


@pytest.fixture(scope="module")
def server(serve_module: Serve) -> Server:
    app = wsgi("wsgi_files:app", "threads 4")
    return serve_module(app, app, tls=True, probe="/hello", slack=FILES)


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("files") / "file.bin"
    path.write_bytes(CONTENT)
    return path


@pytest.fixture
def large(tmp_path: Path) -> Path:
    """A gigabyte of zeros that takes no room on the disk."""
    path = tmp_path / "large.bin"
    with path.open("wb") as file:
        file.truncate(GIB)
    return path


def test_it_is_a_class_for_iterators(server: Server) -> None:
    assert json.loads(server.get("/kind").body) == [True, True, True]


@pytest.mark.parametrize("way", EVERY_WAY)
@pytest.mark.parametrize("target", ["/file", "/unbuffered"])
def test_a_file_arrives_with_its_length_and_is_closed_once(
    server: Server, board: Board, path: Path, way: str, target: str
) -> None:
    response = ask(server, way, "GET", f"{target}?path={path}", board.headers)
    assert (response.status, response.broken) == (200, None)
    assert response.body == CONTENT
    assert response.get("content-length") == str(len(CONTENT))
    assert board.wait("closed") == [""]


@pytest.mark.parametrize("way", EVERY_WAY)
@pytest.mark.parametrize("target", ["/file", "/unbuffered"])
@pytest.mark.parametrize("read", [1, 5000, len(CONTENT) - 1, len(CONTENT)])
def test_a_file_is_sent_from_where_it_stands(
    server: Server, board: Board, path: Path, way: str, target: str, read: int
) -> None:
    response = ask(server, way, "GET", f"{target}?path={path}&read={read}", board.headers)
    assert response.body == CONTENT[read:]
    assert response.get("content-length") == str(len(CONTENT) - read)


def test_the_file_itself_is_closed_in_the_end(server: Server, path: Path) -> None:
    assert server.get(f"/seen_closed?path={path}").body == CONTENT
    assert server.get("/is_closed").text == "True"


@pytest.mark.smoke
@pytest.mark.parametrize("query", ["", "&unlinked=yes"])
def test_an_open_file_that_requests_share_stands_where_it_stood(
    server: Server, tmp_path: Path, query: str
) -> None:
    """One client reads slowly, while another gets the whole file: each gets all of it."""
    path = tmp_path / "numbers.bin"
    content = b"".join(number.to_bytes(8, "big") for number in range(MIB))
    path.write_bytes(content)
    target = f"/shared_in_turn?path={path}{query}"
    with http1.Connection(server.ports[1], receive_buffer=4096) as slow:
        slow.request("GET", target)
        slow.head()
        pieces = slow.chunks()
        received = [next(pieces)]
        assert server.get(target).body == content
        assert b"".join([*received, *pieces]) == content
    assert server.get(f"/position?path={path}").text == "0"


@pytest.mark.conformance("S18")
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("target", ["/file", "/unbuffered"])
def test_head_gets_the_length_and_no_file(
    server: Server, board: Board, path: Path, way: str, target: str
) -> None:
    response = ask(server, way, "HEAD", f"{target}?path={path}", board.headers)
    assert (response.status, response.body, response.broken) == (200, b"", None)
    assert response.get("content-length") == str(len(CONTENT))
    assert board.wait("closed") == [""]


@pytest.mark.conformance("S17")
@pytest.mark.parametrize("way", WAYS)
def test_304_gets_no_file(server: Server, board: Board, path: Path, way: str) -> None:
    response = ask(server, way, "GET", f"/not_modified?path={path}", board.headers)
    assert (response.status, response.body, response.broken) == (304, b"", None)
    assert board.wait("closed") == [""]


def test_a_connection_carries_many_files(server: Server, board: Board, path: Path) -> None:
    with server.connect() as connection:
        for method in ("GET", "HEAD") * 10:
            connection.request(method, f"/file?path={path}", board.headers)
            response = connection.response()
            assert response.body == (CONTENT if method == "GET" else b"")
    board.wait("closed", 20)


# Its length and the app's


@pytest.mark.parametrize("way", WAYS)
def test_the_app_may_give_the_length(server: Server, board: Board, path: Path, way: str) -> None:
    target = f"/with_length?path={path}&length={len(CONTENT)}"
    response = ask(server, way, "GET", target, board.headers)
    assert response.body == CONTENT
    assert response.all("content-length") == [str(len(CONTENT))]
    assert board.wait("closed") == [""]


@pytest.mark.conformance("S15")
@pytest.mark.parametrize("way", WAYS)
def test_a_length_below_the_files_cuts_it(
    server: Server, board: Board, path: Path, way: str
) -> None:
    server.allow_log("Content-Length")
    target = f"/with_length?path={path}&length=1000&read=10"
    response = ask(server, way, "GET", target, board.headers)
    assert (response.body, response.broken) == (CONTENT[10:1010], None)
    assert board.wait("closed") == [""]


@pytest.mark.conformance("S15")
@pytest.mark.parametrize("way", EVERY_WAY)
def test_a_length_above_the_files_breaks_the_answer(
    server: Server, board: Board, path: Path, way: str
) -> None:
    server.expect_app_log("Content-Length of 999999")
    target = f"/with_length?path={path}&length=999999"
    response = ask(server, way, "GET", target, board.headers)
    assert response.broken is not None
    assert board.wait("closed") == [""]


def test_a_file_that_shrinks_while_it_is_sent_breaks_the_answer(
    server: Server, board: Board, large: Path
) -> None:
    server.allow_log(".")
    with http1.Connection(server.ports[1], receive_buffer=4096) as connection:
        connection.request("GET", f"/file?path={large}", board.headers)
        assert connection.head().get("content-length") == str(GIB)
        next(connection.chunks())
        os.truncate(large, MIB)
        with pytest.raises(http1.Broken):
            for _ in connection.chunks():
                pass
    assert board.wait("closed") == [""]


@pytest.mark.parametrize("path", ["/proc/version", "/proc/cpuinfo"])
def test_a_file_whose_size_is_a_lie_arrives_whole(server: Server, board: Board, path: str) -> None:
    """The kernel's own files are regular ones of no size, with contents."""
    response = server.get(f"/unbuffered?path={path}", board.headers)
    assert response.body.splitlines()[0] == Path(path).read_bytes().splitlines()[0]


# What cannot be sent by the kernel


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(
    ("target", "body"),
    [("/like_a_file", b"like a file"), ("/in_memory", b"in memory")],
)
def test_anything_that_can_be_read_arrives_and_is_closed_once(
    server: Server, board: Board, way: str, target: str, body: bytes
) -> None:
    response = ask(server, way, "GET", target, board.headers)
    assert (response.body, response.broken) == (body, None)
    assert board.wait("closed") == [""]


def test_a_pipe_arrives(server: Server) -> None:
    assert server.get("/pipe").text == "out of a pipe"


def test_a_decompressing_file_arrives_as_what_it_reads(server: Server, tmp_path: Path) -> None:
    packed = tmp_path / "packed.gz"
    packed.write_bytes(gzip.compress(CONTENT))
    assert server.get(f"/compressed?path={packed}").body == CONTENT


def test_a_block_size_changes_nothing(server: Server, path: Path) -> None:
    assert server.get(f"/in_small_blocks?path={path}").body == CONTENT


def test_middleware_may_change_the_blocks(server: Server, tmp_path: Path) -> None:
    small = tmp_path / "small.txt"
    small.write_text("one two three")
    assert server.get(f"/through_middleware?path={small}").text == "ONE TWO THREE"
    assert server.get(f"/begun_by_middleware?path={small}").text == "two three"


@pytest.mark.conformance("S06")
@pytest.mark.parametrize("way", EVERY_WAY)
def test_written_data_comes_before_the_file(server: Server, path: Path, way: str) -> None:
    response = ask(server, way, "GET", f"/after_write?path={path}")
    assert (response.body, response.broken) == (b"before " + CONTENT, None)


@pytest.mark.conformance("M08")
def test_a_file_passes_through_compression(serve: Serve, board: Board, path: Path) -> None:
    server = serve(
        f"encode gzip {{\nmatch {{\nheader Content-Type *\n}}\n}}\n{wsgi('wsgi_files:app')}"
    )
    headers = [("Accept-Encoding", "gzip"), *board.headers]
    response = server.get(f"/file?path={path}", headers)
    assert response.get("content-encoding") == "gzip"
    assert response.get("content-length") in (None, str(len(response.body)))
    assert gzip.decompress(response.body) == CONTENT


# Mistakes


@pytest.mark.conformance("S19")
def test_a_file_in_text_mode_is_a_500(server: Server, tmp_path: Path) -> None:
    server.expect_failure("TypeError")
    (tmp_path / "text").write_text("text")
    assert server.get(f"/text?path={tmp_path / 'text'}").status == 500


@pytest.mark.conformance("S02")
def test_a_file_without_a_head_is_a_500(server: Server, board: Board, path: Path) -> None:
    server.expect_failure("start_response")
    assert server.get(f"/never_starts?path={path}", board.headers).status == 500
    assert board.wait("closed") == [""]


@pytest.mark.parametrize("way", WAYS)
def test_a_file_that_cannot_be_read_is_a_visible_error(
    server: Server, tmp_path: Path, way: str
) -> None:
    server.allow_log(".")
    (tmp_path / "written").write_text("content")
    with suppress(http1.Broken):  # It may also break before there is a head.
        response = ask(server, way, "GET", f"/for_writing_only?path={tmp_path / 'written'}")
        assert response.status == 500 or response.broken is not None


# Large files and slow clients


def test_a_gigabyte_arrives_through_flat_memory(server: Server, board: Board, large: Path) -> None:
    sizes, received = [], 0
    with http1.Connection(server.ports[1], timeout=30) as connection:
        connection.request("GET", f"/file?path={large}", board.headers)
        connection.head()
        for number, piece in enumerate(connection.chunks()):
            received += len(piece)
            if number % 1000 == 0:
                sizes.append(proc.rss(server.pid))
    assert received == GIB
    assert max(sizes) - sizes[0] < 30 * MIB


def test_a_client_that_does_not_read_its_file_takes_no_thread(
    server: Server, board: Board, large: Path
) -> None:
    """Four threads, eight downloads that stand still, and requests all the same."""
    with ExitStack() as stack:
        for _ in range(8):
            connection = http1.Connection(server.ports[1], receive_buffer=4096)
            stack.enter_context(connection)
            connection.request("GET", f"/file?path={large}", board.headers)
            assert connection.head().status == 200
        assert server.get("/hello").text == "hello"
        board.wait("closed", 8)


@pytest.mark.conformance("S11", "S12")
@pytest.mark.parametrize("way", ["close", "reset"])
def test_clients_that_leave_within_a_file_leave_nothing_behind(
    server: Server, board: Board, large: Path, way: str
) -> None:
    """The check after the test counts descriptors."""
    for _ in range(20):
        connection = http1.Connection(server.ports[1], receive_buffer=4096)
        connection.request("GET", f"/file?path={large}", board.headers)
        connection.head()
        connection.close() if way == "close" else connection.reset()
    headers = board.headers
    with server.connect2() as connection2:
        for _ in range(20):
            number = connection2.start("GET", f"/file?path={large}", headers)
            connection2.wait(number, lambda stream: stream.status is not None)
            connection2.cancel(number)
    board.wait("closed", 40)
    assert len(board.lines("closed")) == 40


def pieces_of(connection: http1.Connection) -> Iterator[bytes]:
    connection.head()
    yield from connection.chunks()


def test_many_clients_get_their_files_at_once(server: Server, board: Board, path: Path) -> None:
    digest = hashlib.sha256(CONTENT).hexdigest()
    with ExitStack() as stack:
        clients = [stack.enter_context(server.connect()) for _ in range(20)]
        for client in clients:
            client.request("GET", f"/file?path={path}", board.headers)
        for client in clients:
            assert hashlib.sha256(b"".join(pieces_of(client))).hexdigest() == digest
