"""How a WSGI app reads a request's body: `wsgi.input` (conformance section B)."""

from __future__ import annotations

import hashlib
import json
from typing import Any

import pytest

from harness import proc
from harness.board import Board
from harness.caddyfile import wsgi
from harness.http1 import Response
from harness.plugin import Serve
from harness.server import Server

MIB = 1 << 20


@pytest.fixture(scope="module")
def server(serve_module: Serve) -> Server:
    return serve_module(wsgi("wsgi_input:app"), probe="/hello")


# Every way to read must work on a body that came with the head and on one that is still coming.
def sized(text: bytes) -> dict[str, Any]:
    return {"body": text}


def chunked(text: bytes) -> dict[str, Any]:
    return {"body": [text[at : at + 2] for at in range(0, len(text), 2)]}


def post(server: Server, target: str, **options: Any) -> Any:
    response = server.request("POST", target, **options)
    assert response.status == 200
    assert response.broken is None
    return json.loads(response.body)


@pytest.mark.smoke
@pytest.mark.conformance("I01")
@pytest.mark.parametrize("framed", [sized, chunked])
def test_reads_and_lines_may_be_mixed(server: Server, framed: Any) -> None:
    found = post(server, "/piecemeal", **framed(b"line1\nline2\nline3"))
    assert found == ["lin", "e1\n", "li", "ne2\n", ["line3"], "", ""]


@pytest.mark.conformance("I02")
@pytest.mark.parametrize("framed", [sized, chunked])
def test_an_empty_line_is_not_the_end(server: Server, framed: Any) -> None:
    assert post(server, "/lines", **framed(b"a\n\n\nb\n")) == ["a\n", "\n", "\n", "b\n"]


@pytest.mark.conformance("I03")
@pytest.mark.parametrize("framed", [sized, chunked])
def test_read_after_partial_reads_gives_the_rest(server: Server, framed: Any) -> None:
    found = post(server, "/rest_after_a_part", **framed(b"12345\n67\n89"))
    assert found == ["1234", "5\n", "67\n89"]


@pytest.mark.conformance("I04")
@pytest.mark.parametrize("how", ["none", "negative", "bare"])
@pytest.mark.parametrize("framed", [sized, chunked])
def test_read_without_a_size_gives_everything(server: Server, how: str, framed: Any) -> None:
    found = post(server, f"/read_everything?{how}", **framed(b"everything"))
    assert found == ["", "everything", ""]


@pytest.mark.conformance("I05")
def test_read_past_the_end_does_not_wait_for_more(server: Server) -> None:
    assert post(server, "/read_past_the_end", body=b"short") == "short"


@pytest.mark.conformance("I07")
def test_input_is_an_iterator_of_lines(server: Server) -> None:
    assert post(server, "/iterate", body=b"a\nb\nc") == ["a\n", "b\n", "c"]


@pytest.mark.conformance("I01", "I03")
def test_lines_longer_than_any_buffer_arrive_whole(server: Server) -> None:
    long = b"x" * MIB
    found = post(server, "/lines", body=long + b"\n" + long)
    assert [len(line) for line in found] == [MIB + 1, MIB]


@pytest.mark.conformance("I08")
def test_a_large_upload_streams_through_flat_memory(server: Server) -> None:
    piece = bytes(range(256)) * 4096
    server.request("POST", "/digest", body=[piece])
    before = proc.rss(server.pid)
    peaks = []

    def pieces() -> Any:
        for _ in range(100):
            peaks.append(proc.rss(server.pid))
            yield piece

    found = post(server, "/digest", body=pieces(), length=100 * MIB, timeout=60)
    assert found == [100 * MIB, hashlib.sha256(piece * 100).hexdigest()]
    assert max(peaks) - before < 30 * MIB


@pytest.mark.conformance("I09")
def test_a_trickling_body_does_not_hold_up_others(server: Server) -> None:
    with server.connect() as slow:
        slow.request_head("POST", "/digest", length=3)
        for byte in (b"a", b"b"):
            slow.send(byte)
            assert server.get("/hello").status == 200
        slow.send(b"c")
        assert json.loads(slow.response().body) == [3, hashlib.sha256(b"abc").hexdigest()]


@pytest.mark.conformance("I11")
def test_an_unread_body_is_never_taken_for_a_request(server: Server) -> None:
    smuggled = b"GET /hello HTTP/1.1\r\nHost: x\r\n\r\n"
    body = smuggled * 6000
    with server.connect() as connection:
        connection.request("POST", "/ignore", body=body)
        first = connection.response()
        assert (first.status, first.text, first.broken) == (200, '"not read"', None)
        if first.get("connection") == "close":
            assert connection.is_closed()
        else:
            connection.request("GET", "/ignore")
            assert connection.response().text == '"not read"'


@pytest.mark.smoke
@pytest.mark.conformance("I14")
def test_100_continue_is_sent_when_the_app_reads(server: Server, board: Board) -> None:
    headers = [("Expect", "100-continue"), *board.headers]
    with server.connect() as connection:
        connection.request_head("POST", "/read_when_told", headers, length=4)
        board.wait("running")
        connection.socket.setblocking(False)
        with pytest.raises(BlockingIOError):
            connection.socket.recv(1)
        connection.socket.settimeout(10)
        board.post("read")
        assert connection.interim_head().status == 100
        connection.send(b"four")
        assert connection.response().text == "4"


@pytest.mark.conformance("I14")
def test_no_100_continue_when_the_app_does_not_read(server: Server) -> None:
    with server.connect() as connection:
        connection.request_head("POST", "/refuse", [("Expect", "100-continue")], length=4)
        response = connection.response()
    assert response.status == 403
    assert response.interim == []


@pytest.mark.conformance("I15")
def test_a_body_over_the_configured_limit_is_413(serve: Serve) -> None:
    server = serve("request_body {\n max_size 1KB\n}\n" + wsgi("wsgi_input:app"))
    server.allow_log(".")
    response: Response = server.request("POST", "/digest", body=[b"x" * 800] * 4)
    assert response.status == 413


@pytest.mark.conformance("M03")
def test_a_post_and_a_get_in_one_packet_keep_apart(server: Server) -> None:
    with server.connect() as connection:
        post_ = b"POST /lines HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n\r\na\nb\n"
        connection.send(post_ + b"GET /hello HTTP/1.1\r\nHost: x\r\n\r\n")
        assert json.loads(connection.response().body) == ["a\n", "b\n"]
        assert connection.response().text == '"hello"'


@pytest.mark.conformance("I08", "I11")
def test_an_app_may_answer_before_it_reads(server: Server) -> None:
    body = bytes(range(256)) * 1200
    response = server.request("POST", "/answers_before_it_reads", body=body)
    assert response.text == f"begun {hashlib.sha256(body).hexdigest()}"


@pytest.mark.conformance("I11")
def test_an_app_that_fails_within_the_body_gets_no_panic_out_of_the_server(server: Server) -> None:
    """What remains of the body arrives while the answer is written: a race, so many times."""
    times = 30
    server.expect_failure("planted: after a part", times)
    for _ in range(times):
        assert server.request("POST", "/reads_a_part_and_fails", body=b"x" * 300_000).status == 500
