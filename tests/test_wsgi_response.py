"""How a WSGI app answers (conformance section C).

What both interfaces have is in test_response_framing.py, streams are in test_wsgi_streaming.py,
`close()` in test_wsgi_closing.py, what apps must not do in test_wsgi_mistakes.py.
"""

from __future__ import annotations

import pytest

from harness.board import Board
from harness.caddyfile import wsgi
from harness.http1 import Response
from harness.plugin import Serve
from harness.server import Server
from harness.ways import HTTP1, WAYS, ask, connect1


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
    [
        ("/in_one", 3),
        ("/as_tuple", 6),
        ("/many_blocks", 2000),
        ("/one_of_a_kind", 3),
        ("/empty_generator", 0),
    ],
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


@pytest.mark.conformance("S20")
def test_a_subclass_of_bytes_is_bytes(server: Server) -> None:
    assert server.get("/subclass_of_bytes").text == "kind of bytes"


# Responses without a body


@pytest.mark.conformance("S17", "S18")
@pytest.mark.parametrize("way", HTTP1)
@pytest.mark.parametrize(
    ("method", "target"),
    [("HEAD", "/through_write"), ("GET", "/own_status_written?204")],
    ids=["HEAD", "204"],
)
def test_what_is_written_is_dropped_where_no_body_may_be(
    server: Server, way: str, method: str, target: str
) -> None:
    with connect1(server, way) as connection:
        connection.request(method, target)
        assert connection.response().body == b""
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
    assert ask(server, way, "GET", "/repeated_headers").all("set-cookie") == ["a=1", "b=2"]


@pytest.mark.conformance("S25")
@pytest.mark.parametrize("way", WAYS)
def test_header_values_arrive_as_their_latin_1_bytes(server: Server, way: str) -> None:
    response = ask(server, way, "GET", "/odd_values")
    assert response.get("x-latin") == "caf\u00e9 \u00ff"
    assert response.get("x-empty") == ""
    assert response.get("x-space") == "a b"
    assert response.get("x-long") == "x" * 20_000
