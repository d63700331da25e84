"""How a WSGI app answers: head, body, streaming, close() (conformance section C)."""

from __future__ import annotations

import pytest

from harness.board import Board
from harness.caddyfile import wsgi
from harness.plugin import Serve
from harness.server import Server


@pytest.fixture(scope="module")
def server(serve_module: Serve) -> Server:
    return serve_module(wsgi("wsgi_response:app"), probe="/hello")


@pytest.mark.smoke
@pytest.mark.conformance("S01")
def test_generator_app_may_call_start_response_on_first_next(server: Server) -> None:
    response = server.get("/late_start")
    assert (response.status, response.reason, response.text) == (201, "Created", "late")
    assert response.get("x-late") == "yes"


@pytest.mark.conformance("S06")
def test_written_data_comes_before_the_iterable(server: Server) -> None:
    response = server.get("/through_write")
    assert response.text == "one two three"
    assert response.broken is None


@pytest.mark.smoke
@pytest.mark.conformance("S13")
def test_one_block_gets_a_content_length(server: Server) -> None:
    response = server.get("/one_block")
    assert response.get("content-length") == "3"
    assert response.text == "one"


@pytest.mark.conformance("S14")
@pytest.mark.parametrize("target", ["/nothing_but_a_head", "/empty_generator"])
def test_an_empty_body_is_a_complete_answer(server: Server, target: str) -> None:
    response = server.get(target)
    assert (response.status, response.body, response.broken) == (200, b"", None)
    assert response.get("content-length") == "0"


@pytest.mark.smoke
@pytest.mark.conformance("S10")
def test_each_block_is_sent_before_the_next_is_asked_for(server: Server, board: Board) -> None:
    with server.connect() as connection:
        connection.request("GET", "/block_by_block", board.headers)
        connection.head()
        pieces = connection.chunks()
        assert next(pieces) == b"first"
        board.post("second")
        assert b"".join(pieces) == b"second"


@pytest.mark.smoke
@pytest.mark.conformance("S11")
def test_close_is_called_once(server: Server, board: Board) -> None:
    assert server.get("/closing", board.headers).text == "ab"
    assert board.wait("closed") == [""]


@pytest.mark.conformance("S11", "S17")
def test_close_is_called_once_for_304(server: Server, board: Board) -> None:
    response = server.get("/not_modified", board.headers)
    assert (response.status, response.body) == (304, b"")
    assert response.get("transfer-encoding") is None
    assert board.wait("closed") == [""]


@pytest.mark.conformance("S11", "S18")
def test_head_gets_the_headers_of_get_and_close_runs_once(server: Server, board: Board) -> None:
    with server.connect() as connection:
        connection.request("HEAD", "/closing", board.headers)
        response = connection.response()
        assert (response.status, response.body) == (200, b"")
        # Had a body followed, it would be taken for the head of this answer.
        connection.request("HEAD", "/one_block")
        response = connection.response()
        assert (response.status, response.get("content-length")) == (200, "3")
        connection.request("GET", "/hello")
        assert connection.response().text == "hello"
    assert board.wait("closed") == [""]


@pytest.mark.conformance("S17")
def test_204_has_no_body_and_leaves_the_connection_usable(server: Server) -> None:
    with server.connect() as connection:
        connection.request("GET", "/no_content")
        response = connection.response()
        assert response.status == 204
        assert response.get("transfer-encoding") is None
        connection.request("GET", "/hello")
        assert connection.response().text == "hello"


@pytest.mark.conformance("S25")
def test_cookies_stay_separate_and_in_order(server: Server) -> None:
    assert server.get("/two_cookies").all("set-cookie") == ["a=1", "b=2"]


@pytest.mark.conformance("S27")
def test_an_unusual_status_keeps_its_number(server: Server) -> None:
    assert server.get("/own_reason").status == 299


@pytest.mark.conformance("S04")
def test_exc_info_replaces_a_head_that_is_not_out(server: Server) -> None:
    response = server.get("/replaced_head")
    assert (response.status, response.text) == (503, "sorry")


@pytest.mark.conformance("S20")
def test_a_tuple_of_blocks_is_a_body(server: Server) -> None:
    assert server.get("/as_tuple").text == "atuple"


@pytest.mark.conformance("S24")
def test_hop_by_hop_headers_of_the_app_do_not_reach_the_client(server: Server) -> None:
    response = server.get("/hop_by_hop")
    assert (response.status, response.text, response.broken) == (200, "body", None)
    assert response.get("keep-alive") is None
    assert response.get("upgrade") is None
    assert "X-Secret" not in (response.get("connection") or "")
    assert not (response.get("content-length") and response.get("transfer-encoding"))


@pytest.mark.conformance("S30")
def test_http_1_0_gets_a_body_that_ends_with_the_connection(server: Server) -> None:
    response = server.get("/unknown_length", version="HTTP/1.0")
    assert response.status == 200
    assert response.get("transfer-encoding") is None
    assert response.body == b"x" * 10 + b"y" * 10


@pytest.mark.smoke
@pytest.mark.conformance("S12")
def test_iteration_stops_soon_after_the_client_left(server: Server, board: Board) -> None:
    with server.connect(receive_buffer=4096) as connection:
        connection.request("GET", "/endless", board.headers)
        connection.head()
        next(connection.chunks())
        connection.reset()
    assert board.wait("closed") == [""]
    # The socket's buffers take some blocks before anybody notices that the client is gone.
    assert len(board.lines("sent")) < 200


@pytest.mark.conformance("S11", "S24")
def test_http_2_carries_the_same_answers(server: Server, board: Board) -> None:
    with server.connect2() as connection:
        hop = connection.request("GET", "/hop_by_hop")
        assert (hop.status, hop.body, hop.reset) == (200, b"body", None)
        names = {name for name, _ in hop.headers}
        assert not names & {"connection", "keep-alive", "upgrade", "transfer-encoding"}
        assert connection.request("GET", "/no_content").status == 204
        head = connection.request("HEAD", "/one_block")
        assert (head.status, head.body, head.all("content-length")) == (200, b"", ["3"])
        assert connection.request("GET", "/closing", [("x-board", str(board.folder))]).body == b"ab"
    assert board.wait("closed") == [""]
