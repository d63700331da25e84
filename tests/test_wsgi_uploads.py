"""Uploads as a whole: memory, slow and broken ones, unread ones, 100 Continue and limits."""

from __future__ import annotations

import hashlib
import json
import zlib
from collections.abc import Iterator
from contextlib import suppress

import pytest

from harness import http1, proc
from harness.board import Board
from harness.caddyfile import wsgi
from harness.http1 import Header
from harness.plugin import Serve
from harness.server import Server
from harness.waiting import wait_for
from harness.ways import EVERY_WAY, HTTP1, WAYS, ask, connect1

KIB, MIB, GIB = 1 << 10, 1 << 20, 1 << 30


@pytest.fixture(scope="module")
def server(serve_module: Serve) -> Server:
    app = wsgi("wsgi_input:app")
    return serve_module(app, app, tls=True, probe="/hello")


def plain(server: Server, **options: int) -> http1.Connection:
    """A connection to the site without TLS."""
    return http1.Connection(server.ports[1], **options)


# Memory


@pytest.mark.conformance("I08")
@pytest.mark.parametrize("way", EVERY_WAY)
def test_an_upload_arrives_whole(server: Server, way: str) -> None:
    piece = bytes(range(256)) * 64
    body = [piece] * (2 if way not in HTTP1 else 640)
    found = json.loads(ask(server, way, "POST", "/digest", (), body).body)
    assert found == [len(piece) * len(body), hashlib.sha256(piece * len(body)).hexdigest()]


@pytest.mark.conformance("I08")
def test_a_gigabyte_streams_up_through_flat_memory(server: Server) -> None:
    piece = bytes(range(256)) * 4096
    sizes: list[int] = []

    def pieces() -> Iterator[bytes]:
        for number in range(GIB // MIB):
            if number % 64 == 63:
                sizes.append(proc.rss(server.pid))
            yield piece

    with plain(server, timeout=60) as connection:
        connection.request("POST", "/checksum", (), pieces(), length=GIB)
        response = connection.response()
    checksum = 0
    for _ in range(GIB // MIB):
        checksum = zlib.crc32(piece, checksum)
    assert json.loads(response.body) == [GIB, checksum]
    assert max(sizes) - sizes[0] < 30 * MIB


# Slow clients


@pytest.mark.conformance("I09")
def test_a_trickling_body_does_not_hold_up_others(server: Server) -> None:
    with server.connect() as slow:
        slow.request_head("POST", "/digest", length=3)
        for byte in (b"a", b"b"):
            slow.send(byte)
            assert server.get("/hello").status == 200
        slow.send(b"c")
        assert json.loads(slow.response().body) == [3, hashlib.sha256(b"abc").hexdigest()]


@pytest.mark.conformance("I09")
def test_small_bodies_that_trickle_take_no_thread_of_the_app(serve: Serve) -> None:
    server = serve(wsgi("wsgi_input:app", "threads 1"), probe="/hello")
    clients = [server.connect() for _ in range(50)]
    for client in clients:
        client.request_head("POST", "/digest", length=3)
        client.send(b"ab")
    assert server.get("/hello").status == 200
    for client in clients:
        client.send(b"c")
        assert json.loads(client.response().body) == [3, hashlib.sha256(b"abc").hexdigest()]
        client.close()


@pytest.mark.conformance("I09")
def test_large_bodies_that_trickle_hold_up_nobody(serve: Serve, board: Board) -> None:
    server = serve(wsgi("wsgi_input:app", "threads 4"), probe="/hello")
    clients = [server.connect() for _ in range(64)]
    for client in clients:
        client.request_head("POST", "/digest_noted", board.headers, body="chunked")
        client.send(b"2\r\nab\r\n")
    board.wait("running", 64)
    assert server.get("/hello").status == 200
    for target in ("/wsgi", "/asgi"):
        assert http1.request(server.canary, "GET", target).status == 200
    for client in clients:
        client.send(b"1\r\nc\r\n0\r\n\r\n")
    for client in clients:
        assert json.loads(client.response().body) == [3, hashlib.sha256(b"abc").hexdigest()]
        client.close()


# Bodies that nobody reads

SMUGGLED = b"GET /hello HTTP/1.1\r\nHost: localhost\r\n\r\n"


@pytest.mark.conformance("I11")
@pytest.mark.parametrize("way", HTTP1)
@pytest.mark.parametrize("size", [1, 50 * KIB, 200 * KIB, 2 * MIB])
@pytest.mark.parametrize("framing", ["sized", "chunked"])
def test_an_unread_body_is_never_taken_for_a_request(
    server: Server, way: str, size: int, framing: str
) -> None:
    whole = SMUGGLED * (size // len(SMUGGLED) + 1)
    body: bytes | list[bytes] = whole if framing == "sized" else [whole]
    with connect1(server, way) as connection:
        with suppress(OSError):  # Answered and closed while we still send.
            connection.request("POST", "/ignore", (), body)
        first = connection.response()
        assert (first.status, first.text, first.broken) == (200, '"not read"', None)
        if first.get("connection") == "close":
            assert connection.is_closed()
        else:
            connection.request("GET", "/ignore")
            assert connection.response().text == '"not read"'


@pytest.mark.conformance("I11")
def test_an_unread_body_leaves_an_http_2_connection_usable(server: Server) -> None:
    with server.connect2() as connection:
        number = connection.start("POST", "/ignore", body=b"x" * 10_000, end=False)
        first = connection.response(number)
        assert (first.status, first.body) == (200, b'"not read"')
        assert connection.request("GET", "/hello").body == b'"hello"'


@pytest.mark.conformance("I08", "I11")
@pytest.mark.parametrize("way", WAYS)
def test_an_app_may_answer_before_it_reads(server: Server, way: str) -> None:
    body = bytes(range(256)) * (120 if way not in HTTP1 else 1200)
    response = ask(server, way, "POST", "/answers_before_it_reads", (), body)
    assert response.text == f"begun {hashlib.sha256(body).hexdigest()}"


@pytest.mark.conformance("I11")
def test_an_app_that_fails_within_the_body_gets_no_panic_out_of_the_server(server: Server) -> None:
    """What remains of the body arrives while the answer is written: a race, so many times."""
    times = 30
    server.expect_failure("planted: after a part", times)
    body = b"x" * 300_000
    for _ in range(times):
        assert ask(server, "HTTP/1.1", "POST", "/reads_a_part_and_fails", (), body).status == 500


# Expect: 100-continue


@pytest.mark.conformance("I14")
@pytest.mark.parametrize("framing", ["sized", "chunked"])
def test_100_continue_is_sent_when_the_app_reads(
    server: Server, board: Board, framing: str
) -> None:
    headers = [("Expect", "100-continue"), *board.headers]
    with plain(server) as connection:
        if framing == "sized":
            connection.request_head("POST", "/read_when_told", headers, length=4)
        else:
            connection.request_head("POST", "/read_when_told", headers, body="chunked")
        board.wait("running")
        connection.socket.setblocking(False)
        with pytest.raises(BlockingIOError):
            connection.socket.recv(1)
        connection.socket.settimeout(10)
        board.post("read")
        assert connection.interim_head().status == 100
        connection.send(b"four" if framing == "sized" else b"4\r\nfour\r\n0\r\n\r\n")
        assert connection.response().text == "4"


@pytest.mark.conformance("I14")
@pytest.mark.parametrize("tls", [False, True])
def test_no_100_continue_when_the_app_does_not_read(server: Server, tls: bool) -> None:
    with http1.Connection(server.ports[0 if tls else 1], tls=tls) as connection:
        connection.request_head("POST", "/refuse", [("Expect", "100-continue")], length=4)
        response = connection.response()
    assert (response.status, response.interim) == (403, [])


@pytest.mark.conformance("I14")
@pytest.mark.parametrize("length", [[], [("content-length", "4")]], ids=["streamed", "sized"])
def test_no_100_continue_over_http_2_when_the_app_does_not_read(
    server: Server, length: list[Header]
) -> None:
    with server.connect2() as connection:
        headers = [("expect", "100-continue"), *length]
        stream = connection.response(connection.start("POST", "/refuse", headers, end=False))
    assert (stream.status, stream.interim) == (403, [])


@pytest.mark.conformance("I14")
def test_100_continue_comes_over_http_2_when_the_app_reads(server: Server, board: Board) -> None:
    headers: list[Header] = [("expect", "100-continue"), ("x-board", str(board.folder))]
    with server.connect2() as connection:
        number = connection.start("POST", "/read_when_told", headers, end=False)
        board.wait("running")
        assert connection.streams[number].interim == []
        board.post("read")
        assert connection.wait(number, lambda stream: bool(stream.interim)).interim == [100]
        connection.send_data(number, b"four", end=True)
        assert connection.response(number).body == b"4"


@pytest.mark.conformance("I14", "S30")
def test_an_expectation_of_an_http_1_0_client_is_ignored(server: Server) -> None:
    """RFC 9110 section 10.1.1: such a client does not know the answer 100."""
    headers = [("Expect", "100-continue")]
    with plain(server) as connection:
        connection.request("POST", "/digest", headers, b"four", version="HTTP/1.0")
        response = connection.response()
    assert (response.status, response.interim) == (200, [])


# Limits


@pytest.fixture(scope="module")
def limited(serve_module: Serve) -> Server:
    app = "request_body {\n max_size 1KB\n}\n" + wsgi("wsgi_input:app")
    return serve_module(app, app, tls=True, probe="/hello")


@pytest.mark.conformance("I15")
@pytest.mark.parametrize("way", WAYS)
def test_reading_past_the_limit_fails_and_is_413(limited: Server, way: str, board: Board) -> None:
    limited.expect_app_log("OSError: .*larger than the server allows")
    body = [b"x" * 800] * 4
    response = ask(limited, way, "POST", "/reads_and_notes", board.headers, body)
    assert (response.status, response.broken) == (413, None)
    assert board.lines("failed") == ["OSError"]


@pytest.mark.conformance("I15")
@pytest.mark.parametrize("way", WAYS)
def test_a_body_that_says_how_large_it_is_need_not_reach_the_app(
    limited: Server, way: str, board: Board
) -> None:
    response = ask(limited, way, "POST", "/reads_and_notes", board.headers, b"x" * 3000)
    assert response.status == 413
    assert board.lines("read") == []


@pytest.mark.conformance("I15")
def test_an_app_may_answer_itself_when_the_limit_stops_it(limited: Server) -> None:
    response = ask(limited, "HTTP/1.1", "POST", "/answers_for_the_limit", (), [b"x" * 800] * 4)
    assert (response.status, response.text) == (413, '"too much for me"')


@pytest.mark.conformance("I15")
@pytest.mark.parametrize("way", WAYS)
def test_a_limit_met_after_the_head_is_a_broken_answer(limited: Server, way: str) -> None:
    limited.expect_app_log("OSError: .*larger than the server allows")
    response = ask(limited, way, "POST", "/answers_before_it_reads", (), [b"x" * 800] * 4)
    assert response.broken is not None


@pytest.mark.conformance("I15")
@pytest.mark.parametrize("way", WAYS)
def test_a_body_within_the_limit_arrives(limited: Server, way: str) -> None:
    found = json.loads(ask(limited, way, "POST", "/digest", (), [b"x" * 500] * 2).body)
    assert found == [1000, hashlib.sha256(b"x" * 1000).hexdigest()]


# Broken bodies


@pytest.mark.conformance("I05", "M01")
@pytest.mark.parametrize("target", ["/reads_and_notes", "/reads_lines_and_notes"])
def test_a_body_that_breaks_off_is_an_error_and_not_an_end(
    server: Server, board: Board, target: str
) -> None:
    with plain(server) as connection:
        connection.request_head("POST", target, board.headers, length=MIB)
        connection.send(b"x" * 10_000)
        board.wait("running")
    board.wait("failed")
    assert board.lines("failed") == ["BrokenPipeError"]
    assert board.lines("read") == []
    wait_for(lambda: server.get("/hello").status == 200, "the app to go on")
