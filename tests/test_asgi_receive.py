"""How an ASGI app reads: `receive()` (conformance section E, first half)."""

from __future__ import annotations

import hashlib
import json
import socket
from collections.abc import Iterator

import pytest

from harness import proc
from harness.board import Board
from harness.caddyfile import asgi
from harness.http1 import sends_until_it_blocks
from harness.plugin import Serve
from harness.server import Server

MIB = 1 << 20


@pytest.fixture(scope="module")
def server(serve_module: Serve) -> Server:
    return serve_module(asgi("asgi_messages:app", "lifespan off"), probe="/hello")


@pytest.mark.smoke
@pytest.mark.conformance("E01")
def test_the_first_message_of_a_get_is_an_empty_body(server: Server) -> None:
    message = json.loads(server.get("/first_message").body)
    assert message["type"] == "http.request"
    assert message.get("body", "") == ""
    assert message.get("more_body", False) is False


@pytest.mark.smoke
@pytest.mark.conformance("E02", "E04")
def test_a_second_receive_waits_until_the_client_leaves(server: Server, board: Board) -> None:
    with server.connect() as connection:
        connection.request("GET", "/second_receive", board.headers)
        board.wait("waiting")
        assert board.lines("early") == ["False"]
        assert board.lines("second") == []
    assert board.wait("second") == ['{"type": "http.disconnect"}']


@pytest.mark.conformance("E03")
def test_receive_after_the_response_says_disconnect_again_and_again(
    server: Server, board: Board
) -> None:
    with server.connect() as connection:
        connection.request("GET", "/receive_after_the_response", board.headers)
        assert connection.response().text == '"sent"'
        assert board.wait("messages", 3) == ["http.disconnect"] * 3


@pytest.mark.conformance("E06")
@pytest.mark.parametrize("size", [1, 65535, 65536, 3 * MIB + 7])
def test_an_upload_arrives_complete_in_pieces(server: Server, size: int) -> None:
    data = bytes(range(251)) * (size // 251 + 1)
    data = data[:size]
    digest = hashlib.sha256(data).hexdigest()
    sized = json.loads(server.request("POST", "/upload", body=data).body)
    pieces = [data[at : at + 50_000] for at in range(0, size, 50_000)]
    chunked = json.loads(server.request("POST", "/upload", body=pieces).body)
    for found in (sized, chunked):
        assert (found["size"], found["sha256"]) == (size, digest)
        assert found["largest"] <= MIB


@pytest.mark.conformance("E06", "E07")
def test_a_large_upload_streams_through_flat_memory(server: Server) -> None:
    piece = bytes(range(256)) * 4096
    server.request("POST", "/upload", body=[piece])
    before = proc.rss(server.pid)
    peaks = []

    def pieces() -> Iterator[bytes]:
        for _ in range(100):
            peaks.append(proc.rss(server.pid))
            yield piece

    response = server.request("POST", "/upload", body=pieces(), length=100 * MIB, timeout=60)
    found = json.loads(response.body)
    assert found["size"] == 100 * MIB
    assert found["sha256"] == hashlib.sha256(piece * 100).hexdigest()
    assert max(peaks) - before < 30 * MIB


@pytest.mark.smoke
@pytest.mark.conformance("E07")
def test_an_upload_that_nobody_reads_stops_at_the_sender(server: Server, board: Board) -> None:
    limit = 200 * MIB
    before = proc.rss(server.pid)
    with server.connect() as connection:
        connection.request_head("POST", "/read_when_told", board.headers, length=limit)
        board.wait("running")
        assert sends_until_it_blocks(connection, limit) < 50 * MIB
        assert proc.rss(server.pid) - before < 30 * MIB
        connection.reset()
    board.post("read")
    board.wait("over")  # The app learns that the client left, which is no error.


@pytest.mark.conformance("M03")
def test_an_unread_body_is_never_taken_for_a_request(server: Server) -> None:
    body = b"GET /hello HTTP/1.1\r\nHost: x\r\n\r\n" * 6000
    with server.connect() as connection:
        connection.request("POST", "/ignore", body=body)
        first = connection.response()
        assert (first.status, first.text, first.broken) == (200, '"not read"', None)
        if first.get("connection") == "close":
            assert connection.is_closed()
        else:
            connection.request("GET", "/ignore")
            assert connection.response().text == '"not read"'


@pytest.mark.conformance("I14")
def test_100_continue_is_sent_when_the_app_receives(server: Server, board: Board) -> None:
    headers = [("Expect", "100-continue"), *board.headers]
    with server.connect() as connection:
        connection.request_head("POST", "/read_when_told", headers, length=4)
        board.wait("running")
        board.post("read")
        assert connection.interim_head().status == 100
        connection.send(b"four")
        assert json.loads(connection.response().body)["size"] == 4


@pytest.mark.conformance("I14")
def test_no_100_continue_when_the_app_does_not_receive(server: Server) -> None:
    with server.connect() as connection:
        connection.request_head("POST", "/refuse", [("Expect", "100-continue")], length=4)
        response = connection.response()
    assert (response.status, response.interim) == (403, [])


@pytest.mark.smoke
@pytest.mark.conformance("E28")
def test_receive_works_as_a_task_a_future_and_under_a_timeout(server: Server) -> None:
    response = server.get("/receive_in_many_ways")
    assert json.loads(response.body) == {"timed_out": True, "cancelled": [True, True]}


@pytest.mark.conformance("E29")
def test_the_app_runs_in_a_real_task(server: Server) -> None:
    assert json.loads(server.get("/real_task").body)["task"] is True


@pytest.mark.conformance("E34")
def test_a_background_task_outlives_its_request(server: Server, board: Board) -> None:
    assert server.get("/background", board.headers).text == '"started"'
    board.post("go")
    board.wait("finished")


@pytest.mark.conformance("E05")
def test_a_client_that_only_stops_sending_is_answered(server: Server, board: Board) -> None:
    with server.connect() as connection:
        connection.request("GET", "/patient", board.headers)
        board.wait("running")
        connection.socket.shutdown(socket.SHUT_WR)
        board.post("go")
        assert connection.response().text == '"done"'
