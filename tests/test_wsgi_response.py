"""How a WSGI app answers: the head and how the body is framed (conformance section C).

Streams are in test_wsgi_streaming.py, `close()` in test_wsgi_closing.py, what apps must not do in
test_wsgi_mistakes.py.
"""

from __future__ import annotations

import pytest

from harness import http1
from harness.board import Board
from harness.caddyfile import wsgi
from harness.http1 import Header, Response
from harness.plugin import Serve
from harness.server import Server
from harness.ways import HTTP1, WAYS, ask, ask2, connect1


@pytest.fixture(scope="module")
def server(serve_module: Serve) -> Server:
    app = wsgi("wsgi_response:app")
    return serve_module(app, app, tls=True, probe="/hello")


def is_whole(response: Response) -> bool:
    """Complete, and framed in at most one way."""
    framings = [response.get("content-length"), response.get("transfer-encoding")]
    return response.broken is None and None in framings


# start_response


@pytest.mark.smoke
@pytest.mark.conformance("S01")
@pytest.mark.parametrize("way", WAYS)
def test_generator_app_may_call_start_response_on_first_next(server: Server, way: str) -> None:
    response = ask(server, way, "GET", "/late_start")
    assert (response.status, response.text, response.broken) == (201, "late", None)
    assert response.get("x-late") == "yes"


@pytest.mark.conformance("S01")
def test_start_response_may_come_with_an_empty_first_block(server: Server) -> None:
    response = server.get("/late_start_after_empty_blocks")
    assert (response.status, response.text) == (201, "late")


@pytest.mark.conformance("S01")
@pytest.mark.parametrize("target", ["/named_arguments", "/status_without_a_reason"])
def test_start_response_may_be_called_in_all_ways(server: Server, target: str) -> None:
    response = server.get(target)
    assert (response.status, response.text) == (200, "called")


@pytest.mark.smoke
@pytest.mark.conformance("S07")
@pytest.mark.parametrize("way", WAYS)
def test_exc_info_replaces_a_head_that_is_not_out(server: Server, way: str) -> None:
    response = ask(server, way, "GET", "/replaced_head")
    assert (response.status, response.text) == (503, "sorry")
    assert response.get("x-first") is None


@pytest.mark.conformance("S07")
@pytest.mark.parametrize("target", ["/replaced_after_empty_blocks", "/replaced_after_empty_write"])
def test_empty_blocks_do_not_send_the_head(server: Server, target: str) -> None:
    response = server.get(target)
    assert (response.status, response.text) == (503, "sorry")


# The length of the body


@pytest.mark.smoke
@pytest.mark.conformance("S13")
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(
    ("target", "length"),
    [("/one_block", 3), ("/as_tuple", 6), ("/many_blocks", 2000), ("/one_of_a_kind", 3)],
)
def test_a_length_that_is_known_is_sent(server: Server, way: str, target: str, length: int) -> None:
    response = ask(server, way, "GET", target)
    assert response.get("content-length") == str(length)
    assert len(response.body) == length
    assert is_whole(response)


@pytest.mark.conformance("S13")
@pytest.mark.parametrize("way", WAYS)
def test_a_length_from_the_app_is_kept(server: Server, way: str) -> None:
    response = ask(server, way, "GET", "/own_length")
    assert response.all("content-length") == ["10"]
    assert response.body == b"x" * 5 + b"y" * 5
    assert is_whole(response)


@pytest.mark.conformance("S13")
@pytest.mark.parametrize("way", WAYS)
def test_a_length_that_nobody_knows_does_not_matter(server: Server, way: str) -> None:
    response = ask(server, way, "GET", "/unknown_length")
    assert response.body == b"x" * 10 + b"y" * 10
    assert is_whole(response)


@pytest.mark.conformance("S14")
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(
    "target", ["/nothing_but_a_head", "/empty_generator", "/empty_blocks", "/odd_values"]
)
def test_an_empty_body_is_a_complete_answer(server: Server, way: str, target: str) -> None:
    response = ask(server, way, "GET", target)
    assert (response.status, response.body, response.broken) == (200, b"", None)
    assert response.get("content-length") == "0"
    assert response.get("transfer-encoding") is None


@pytest.mark.conformance("S20")
def test_a_subclass_of_bytes_is_bytes(server: Server) -> None:
    assert server.get("/subclass_of_bytes").text == "kind of bytes"


# Responses without a body


@pytest.mark.smoke
@pytest.mark.conformance("S17")
@pytest.mark.parametrize("tls", [False, True])
@pytest.mark.parametrize(
    ("target", "status"),
    [
        ("/no_content", 204),
        ("/no_content_streamed", 204),
        ("/no_content_with_length", 204),
        ("/no_content_written", 204),
        ("/not_modified_plain", 304),
        ("/not_modified_with_length", 304),
    ],
)
def test_204_and_304_have_no_body_and_leave_the_connection_usable(
    server: Server, tls: bool, target: str, status: int
) -> None:
    with http1.Connection(server.ports[0 if tls else 1], tls=tls) as connection:
        for _ in range(2):
            connection.request("GET", target)
            response = connection.response()
            assert response.status == status
            assert response.get("transfer-encoding") is None
            if status == 204:
                assert response.get("content-length") is None
            connection.request("GET", "/hello")
            assert connection.response().text == "hello"


@pytest.mark.conformance("S17")
@pytest.mark.parametrize(
    ("target", "status"),
    [
        ("/no_content", 204),
        ("/no_content_streamed", 204),
        ("/no_content_with_length", 204),
        ("/not_modified_with_length", 304),
    ],
)
def test_204_and_304_have_no_body_over_http_2(server: Server, target: str, status: int) -> None:
    with server.connect2() as connection:
        for _ in range(2):
            response = ask2(connection, "GET", target)
            assert (response.status, response.body, response.broken) == (status, b"", None)
            if status == 204:
                assert response.get("content-length") is None
        assert ask2(connection, "GET", "/hello").text == "hello"


@pytest.mark.smoke
@pytest.mark.conformance("S18")
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(
    "target", ["/one_block", "/as_tuple", "/own_length", "/unknown_length", "/two_cookies", "/lost"]
)
def test_head_gets_the_headers_of_get(server: Server, way: str, target: str) -> None:
    def relevant(response: Response) -> list[Header]:
        # Chunking is how a body of unknown length is framed: there is none here.
        own = ("date", "transfer-encoding")
        return sorted(field for field in response.headers if field[0] not in own)

    get, head = (ask(server, way, method, target) for method in ("GET", "HEAD"))
    assert (head.status, head.body, head.broken) == (get.status, b"", None)
    assert relevant(head) == relevant(get)


@pytest.mark.conformance("S18")
@pytest.mark.parametrize("way", WAYS)
def test_no_length_is_made_up_for_head(server: Server, way: str) -> None:
    response = ask(server, way, "HEAD", "/no_body_for_head")
    assert (response.status, response.broken) == (200, None)
    assert response.get("content-length") is None


@pytest.mark.conformance("S18")
@pytest.mark.parametrize("tls", [False, True])
def test_head_leaves_the_connection_usable(server: Server, tls: bool) -> None:
    """Had a body followed, it would be taken for the head of the next answer."""
    with http1.Connection(server.ports[0 if tls else 1], tls=tls) as connection:
        targets = ("/one_block", "/unknown_length", "/own_length", "/through_write")
        for target in (*targets, "/no_body_for_head"):
            connection.request("HEAD", target)
            assert connection.response().status == 200
            connection.request("GET", "/hello")
            assert connection.response().text == "hello"


@pytest.mark.conformance("S18", "S12")
@pytest.mark.parametrize("way", WAYS)
def test_head_ends_a_stream_that_never_ends(server: Server, board: Board, way: str) -> None:
    response = ask(server, way, "HEAD", "/endless", board.headers)
    assert (response.status, response.body) == (200, b"")
    assert board.wait("closed") == [""]
    assert len(board.lines("sent")) <= 2


# Headers


@pytest.mark.conformance("S25")
@pytest.mark.parametrize("way", WAYS)
def test_cookies_stay_separate_and_in_order(server: Server, way: str) -> None:
    assert ask(server, way, "GET", "/two_cookies").all("set-cookie") == ["a=1", "b=2"]


@pytest.mark.conformance("S25")
@pytest.mark.parametrize("way", WAYS)
def test_header_values_arrive_as_their_latin_1_bytes(server: Server, way: str) -> None:
    response = ask(server, way, "GET", "/odd_values")
    assert response.get("x-latin") == "caf\u00e9 \u00ff"
    assert response.get("x-empty") == ""
    assert response.get("x-space") == "a b"
    assert response.get("x-long") == "x" * 20_000


@pytest.mark.conformance("S27")
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("status", [200, 203, 299, 418, 451, 499, 599, 999])
def test_an_unusual_status_keeps_its_number(server: Server, way: str, status: int) -> None:
    response = ask(server, way, "GET", f"/own_status?{status}")
    assert (response.status, response.text) == (status, "as asked")


@pytest.mark.smoke
@pytest.mark.conformance("S24")
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("target", ["/hop_by_hop", "/hop_by_hop_streamed"])
def test_hop_by_hop_headers_of_the_app_do_not_reach_the_client(
    server: Server, way: str, target: str
) -> None:
    response = ask(server, way, "GET", target)
    assert (response.status, response.text, response.broken) == (200, "body", None)
    for name in ("keep-alive", "upgrade", "proxy-connection", "te"):
        assert response.get(name) is None
    assert "X-Secret" not in (response.get("connection") or "")
    assert is_whole(response)
    if way not in HTTP1:
        assert response.get("connection") is None
        assert response.get("transfer-encoding") is None


@pytest.mark.conformance("S24")
@pytest.mark.parametrize("way", HTTP1)
def test_the_app_cannot_close_or_keep_the_connection(server: Server, way: str) -> None:
    with connect1(server, way) as connection:
        connection.request("GET", "/wants_to_close")
        assert connection.response().text == "body"
        connection.request("GET", "/hello", [("Connection", "close")])
        assert connection.response().text == "hello"
        assert connection.is_closed()


@pytest.mark.conformance("S24")
@pytest.mark.parametrize("way", WAYS)
def test_a_trailer_header_of_the_app_breaks_nothing(server: Server, way: str) -> None:
    response = ask(server, way, "GET", "/announces_trailers")
    assert (response.status, response.text, response.broken) == (200, "body", None)


@pytest.mark.conformance("S24")
@pytest.mark.parametrize("way", WAYS)
def test_date_and_server_come_once(server: Server, way: str) -> None:
    response = ask(server, way, "GET", "/dated")
    assert response.all("date") == ["Mon, 01 Jan 2001 00:00:00 GMT"]
    assert response.all("server") == ["of the app"]
    assert len(ask(server, way, "GET", "/hello").all("date")) == 1


@pytest.mark.conformance("S24")
def test_no_content_type_is_made_up(server: Server) -> None:
    response = server.get("/no_type")
    assert (response.get("content-type"), response.text) == (None, "<html>")


# HTTP/1.0


@pytest.mark.smoke
@pytest.mark.conformance("S30")
@pytest.mark.parametrize("tls", [False, True])
def test_http_1_0_gets_a_body_that_ends_with_the_connection(server: Server, tls: bool) -> None:
    with http1.Connection(server.ports[0 if tls else 1], tls=tls) as connection:
        connection.request("GET", "/unknown_length", version="HTTP/1.0")
        response = connection.response()
        assert (response.version, response.status) == ("HTTP/1.0", 200)
        assert response.get("transfer-encoding") is None
        assert response.get("content-length") is None
        assert response.body == b"x" * 10 + b"y" * 10
        assert connection.is_closed()


@pytest.mark.conformance("S30")
def test_http_1_0_keeps_a_connection_that_it_asked_to_keep(server: Server) -> None:
    with server.connect() as connection:
        for _ in range(2):
            connection.request("GET", "/hello", [("Connection", "keep-alive")], version="HTTP/1.0")
            response = connection.response()
            assert (response.get("content-length"), response.text) == ("5", "hello")
            assert response.get("connection") == "keep-alive"
        connection.request("GET", "/hello", version="HTTP/1.0")
        assert connection.response().text == "hello"
        assert connection.is_closed()
