"""How a response of either interface is framed, and which headers go with it.

What only one interface has is in test_wsgi_response.py and test_asgi_response.py.
"""

from __future__ import annotations

import pytest

from harness.caddyfile import asgi, wsgi
from harness.http1 import Header, Response
from harness.plugin import Serve
from harness.server import Server
from harness.ways import HTTP1, WAYS, ask, ask2, connect1

BLOCKS = {"wsgi": wsgi("wsgi_response:app"), "asgi": asgi("asgi_response:app", "lifespan off")}


@pytest.fixture(scope="module", params=BLOCKS)
def server(request: pytest.FixtureRequest, serve_module: Serve) -> Server:
    block = BLOCKS[request.param]
    return serve_module(block, block, tls=True, probe="/hello")


def is_whole(response: Response) -> bool:
    """Complete, and framed in at most one way."""
    framings = [response.get("content-length"), response.get("transfer-encoding")]
    return response.broken is None and None in framings


# The length of the body


@pytest.mark.conformance("S13", "E21")
@pytest.mark.parametrize("way", WAYS)
def test_a_length_that_nobody_knows_does_not_matter(server: Server, way: str) -> None:
    response = ask(server, way, "GET", "/unknown_length")
    assert response.body == b"x" * 10
    assert is_whole(response)


@pytest.mark.conformance("S14", "E15", "E21")
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("target", ["/nothing", "/nothing_in_pieces", "/odd_values"])
def test_an_empty_body_is_a_complete_answer(server: Server, way: str, target: str) -> None:
    response = ask(server, way, "GET", target)
    assert (response.status, response.body) == (200, b"")
    assert is_whole(response)


# Statuses


@pytest.mark.conformance("S27", "E18")
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("status", [200, 203, 299, 418, 451, 499, 500, 599, 999])
def test_an_unusual_status_keeps_its_number(server: Server, way: str, status: int) -> None:
    response = ask(server, way, "GET", f"/own_status?{status}")
    assert (response.status, response.text, response.broken) == (status, "as asked", None)


NO_BODY = pytest.mark.parametrize(
    "target",
    ["/own_status", "/own_status_in_pieces", "/own_status_with_length", "/own_status_alone"],
)


@pytest.mark.smoke
@pytest.mark.conformance("S17", "E23")
@pytest.mark.parametrize("way", HTTP1)
@pytest.mark.parametrize("status", [204, 304])
@NO_BODY
def test_204_and_304_have_no_body_and_leave_the_connection_usable(
    server: Server, way: str, status: int, target: str
) -> None:
    with connect1(server, way) as connection:
        for _ in range(2):
            connection.request("GET", f"{target}?{status}")
            response = connection.response()
            assert response.status == status
            assert response.get("transfer-encoding") is None
            if status == 204:
                assert response.get("content-length") is None
            connection.request("GET", "/hello")
            assert connection.response().text == "hello"


@pytest.mark.conformance("S17", "E23")
@pytest.mark.parametrize("status", [204, 304])
@NO_BODY
def test_204_and_304_have_no_body_over_http_2(server: Server, status: int, target: str) -> None:
    with server.connect2() as connection:
        for _ in range(2):
            response = ask2(connection, "GET", f"{target}?{status}")
            assert (response.status, response.body, response.broken) == (status, b"", None)
            if status == 204:
                assert response.get("content-length") is None
        assert ask2(connection, "GET", "/hello").text == "hello"


# HEAD


@pytest.mark.smoke
@pytest.mark.conformance("S18", "E23")
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(
    "target", ["/in_one", "/own_length", "/unknown_length", "/repeated_headers", "/own_status?404"]
)
def test_head_gets_the_headers_of_get(server: Server, way: str, target: str) -> None:
    def relevant(response: Response) -> list[Header]:
        # Chunking is how a body of unknown length is framed: there is none here.
        own = ("date", "transfer-encoding")
        return sorted(field for field in response.headers if field[0] not in own)

    get, head = (ask(server, way, method, target) for method in ("GET", "HEAD"))
    assert (head.status, head.body, head.broken) == (get.status, b"", None)
    assert relevant(head) == relevant(get)


@pytest.mark.conformance("S18", "E23")
@pytest.mark.parametrize("way", WAYS)
def test_no_length_is_made_up_for_head(server: Server, way: str) -> None:
    response = ask(server, way, "HEAD", "/no_body_for_head")
    assert (response.status, response.broken) == (200, None)
    assert response.get("content-length") is None


@pytest.mark.conformance("S18", "E23")
@pytest.mark.parametrize("way", HTTP1)
@pytest.mark.parametrize(
    "target", ["/in_one", "/unknown_length", "/own_length", "/no_body_for_head"]
)
def test_head_leaves_the_connection_usable(server: Server, way: str, target: str) -> None:
    """Had a body followed, it would be taken for the head of the next answer."""
    with connect1(server, way) as connection:
        connection.request("HEAD", target)
        assert connection.response().status == 200
        connection.request("GET", "/hello")
        assert connection.response().text == "hello"


# Headers


@pytest.mark.smoke
@pytest.mark.conformance("S24", "E21")
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(
    "target", ["/hop_by_hop", "/hop_by_hop_in_pieces", "/hop_by_hop_with_length"]
)
def test_hop_by_hop_headers_of_the_app_do_not_reach_the_client(
    server: Server, way: str, target: str
) -> None:
    response = ask(server, way, "GET", target)
    assert (response.status, response.text) == (200, "body")
    for name in ("keep-alive", "upgrade", "proxy-connection", "te"):
        assert response.get(name) is None
    assert "x-secret" not in (response.get("connection") or "").lower()
    assert len(response.all("transfer-encoding")) <= 1
    assert is_whole(response)
    if way not in HTTP1:
        assert response.get("connection") is None
        assert response.get("transfer-encoding") is None


@pytest.mark.conformance("S24", "E21")
@pytest.mark.parametrize("way", HTTP1)
def test_the_app_cannot_close_or_keep_the_connection(server: Server, way: str) -> None:
    with connect1(server, way) as connection:
        connection.request("GET", "/wants_to_close")
        assert connection.response().text == "body"
        connection.request("GET", "/hello", [("Connection", "close")])
        assert connection.response().text == "hello"
        assert connection.is_closed()


@pytest.mark.conformance("S24", "E37")
@pytest.mark.parametrize("way", WAYS)
def test_a_trailer_header_without_trailers_breaks_nothing(server: Server, way: str) -> None:
    response = ask(server, way, "GET", "/announces_trailers")
    assert (response.status, response.text, response.broken) == (200, "body", None)


@pytest.mark.smoke
@pytest.mark.conformance("S24", "E39")
@pytest.mark.parametrize("way", WAYS)
def test_date_and_server_come_once(server: Server, way: str) -> None:
    response = ask(server, way, "GET", "/dated")
    assert response.all("date") == ["Mon, 01 Jan 2001 00:00:00 GMT"]
    assert response.all("server") == ["of the app"]
    other = ask(server, way, "GET", "/hello")
    assert len(other.all("date")) == 1
    assert len(other.all("server")) == 1


@pytest.mark.conformance("S24", "E39")
def test_no_content_type_is_made_up(server: Server) -> None:
    response = server.get("/no_type")
    assert (response.get("content-type"), response.text) == (None, "<html>")


# HTTP/1.0


@pytest.mark.smoke
@pytest.mark.conformance("S30", "E21")
@pytest.mark.parametrize("way", HTTP1)
def test_http_1_0_gets_a_body_that_ends_with_the_connection(server: Server, way: str) -> None:
    with connect1(server, way) as connection:
        connection.request("GET", "/unknown_length", version="HTTP/1.0")
        response = connection.response()
        assert (response.version, response.status) == ("HTTP/1.0", 200)
        assert response.get("transfer-encoding") is None
        assert response.get("content-length") is None
        assert response.body == b"x" * 10
        assert connection.is_closed()


@pytest.mark.conformance("S30", "E21")
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
