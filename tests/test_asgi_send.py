"""How an ASGI app answers: `send()`, streaming, back-pressure (conformance section E)."""

from __future__ import annotations

import pytest

from harness import proc
from harness.board import Board
from harness.caddyfile import asgi
from harness.plugin import Serve
from harness.server import Server

MIB = 1 << 20


@pytest.fixture(scope="module")
def server(serve_module: Serve) -> Server:
    return serve_module(asgi("asgi_messages:app", "lifespan off"), probe="/hello")


@pytest.mark.smoke
@pytest.mark.conformance("E15")
def test_all_but_the_types_and_the_status_may_be_left_out(server: Server) -> None:
    response = server.get("/defaults")
    assert (response.status, response.body, response.broken) == (200, b"", None)


@pytest.mark.conformance("E16")
@pytest.mark.parametrize("kind", ["tuple", "lists", "generator"])
def test_headers_may_be_any_iterable(server: Server, kind: str) -> None:
    response = server.get(f"/generated_headers?{kind}")
    assert (response.get("x-a"), response.get("x-b")) == ("1", "2")


@pytest.mark.conformance("E20")
def test_a_body_may_be_bytearray_or_memoryview(server: Server) -> None:
    assert server.get("/kinds_of_bytes").text == "one two"


@pytest.mark.conformance("E18")
def test_an_unusual_status_keeps_its_number(server: Server) -> None:
    assert server.get("/status_only?299").status == 299
    assert server.get("/status_only?599").status == 599


@pytest.mark.smoke
@pytest.mark.conformance("E23")
@pytest.mark.parametrize("status", [204, 304])
def test_a_status_without_a_body_gets_none(server: Server, status: int) -> None:
    with server.connect() as connection:
        connection.request("GET", f"/status_only?{status}")
        response = connection.response()
        assert (response.status, response.get("transfer-encoding")) == (status, None)
        connection.request("GET", "/hello")
        assert connection.response().text == '"hello"'


@pytest.mark.conformance("E23")
def test_head_gets_the_headers_of_get_and_no_body(server: Server) -> None:
    with server.connect() as connection:
        connection.request("HEAD", "/sized")
        response = connection.response()
        assert (response.status, response.get("content-length")) == (200, "6")
        connection.request("GET", "/hello")
        assert connection.response().text == '"hello"'


@pytest.mark.conformance("E21", "S24")
def test_hop_by_hop_headers_of_the_app_do_not_reach_the_client(server: Server) -> None:
    response = server.get("/hop_by_hop")
    assert (response.status, response.text, response.broken) == (200, "body", None)
    assert response.get("keep-alive") is None
    assert response.get("upgrade") is None
    assert "x-secret" not in (response.get("connection") or "")
    assert len(response.all("transfer-encoding")) <= 1
    assert not (response.get("content-length") and response.get("transfer-encoding"))
    with server.connect2() as connection:
        stream = connection.request("GET", "/hop_by_hop")
    assert (stream.status, stream.body, stream.reset) == (200, b"body", None)
    names = {name for name, _ in stream.headers}
    assert not names & {"connection", "keep-alive", "upgrade", "transfer-encoding"}


@pytest.mark.smoke
@pytest.mark.conformance("E25")
def test_each_piece_is_sent_before_the_next(server: Server, board: Board) -> None:
    with server.connect() as connection:
        connection.request("GET", "/piece_by_piece", board.headers)
        connection.head()
        pieces = connection.chunks()
        assert next(pieces) == b"first"
        board.post("second")
        assert b"".join(pieces) == b"second"


@pytest.mark.conformance("E25")
def test_each_piece_is_sent_before_the_next_over_http_2(server: Server, board: Board) -> None:
    with server.connect2() as connection:
        number = connection.start("GET", "/piece_by_piece", board.headers)
        assert connection.wait(number, lambda stream: stream.body == b"first").body == b"first"
        board.post("second")
        stream = connection.response(number)
    assert (stream.body, stream.ended) == (b"firstsecond", True)


@pytest.mark.smoke
@pytest.mark.conformance("E24")
def test_a_stalled_reader_pauses_the_app(server: Server, board: Board) -> None:
    before = proc.rss(server.pid)
    with server.connect(receive_buffer=65536) as connection:
        connection.request("GET", "/flood", board.headers)
        sent = board.wait_until_still("sent")
        # What was handed over sits in the kernel's socket buffers and in a bounded one of ours.
        assert sent * 65536 < 16 * MIB
        assert proc.rss(server.pid) - before < 30 * MIB
        assert board.lines("over") == []
        # Once somebody reads again, everything comes.
        assert len(connection.response().body) == 2000 * 65536
    board.wait("over")


@pytest.mark.conformance("E26")
def test_sending_to_a_client_that_left_raises_oserror(server: Server, board: Board) -> None:
    with server.connect(receive_buffer=4096) as connection:
        connection.request("GET", "/endless", board.headers)
        connection.head()
        connection.reset()
    (error,) = board.wait("closed")
    assert error  # The name of an OSError subclass.
    assert len(board.lines("sent")) < 200


@pytest.mark.smoke
@pytest.mark.conformance("E26")
def test_an_unhandled_send_to_a_client_that_left_is_no_error(server: Server, board: Board) -> None:
    with server.connect(receive_buffer=4096) as connection:
        connection.request("GET", "/endless_without_a_care", board.headers)
        connection.head()
        connection.reset()
    board.wait("closed")
    server.check()  # Nothing logged as an error.
