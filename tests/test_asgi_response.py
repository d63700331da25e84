"""How an ASGI app answers: the head and how the body is framed (conformance section E).

Streams are in test_asgi_streaming.py, what apps must not do in test_asgi_mistakes.py.
"""

from __future__ import annotations

import pytest

from harness.board import Board
from harness.caddyfile import asgi
from harness.http1 import Header, Response
from harness.plugin import Serve
from harness.server import Server
from harness.ways import EVERY_WAY, HTTP1, LARGE, WAYS, ask, ask2, connect1


@pytest.fixture(scope="module")
def server(serve_module: Serve) -> Server:
    app = asgi("asgi_response:app", "lifespan off")
    return serve_module(app, app, tls=True, probe="/hello")


def is_whole(response: Response) -> bool:
    """Complete, and framed in at most one way."""
    framings = [response.get("content-length"), response.get("transfer-encoding")]
    return response.broken is None and None in framings


# Messages


@pytest.mark.smoke
@pytest.mark.conformance("E15")
@pytest.mark.parametrize("way", WAYS)
def test_all_but_the_types_and_the_status_may_be_left_out(server: Server, way: str) -> None:
    response = ask(server, way, "GET", "/defaults")
    assert (response.status, response.body, response.broken) == (200, b"", None)
    assert response.get("content-length") == "0"


@pytest.mark.conformance("E13", "E15")
@pytest.mark.parametrize("target", ["/more_body_is_truthy", "/unknown_keys", "/kinds_of_dict"])
def test_messages_may_be_more_than_they_must(server: Server, target: str) -> None:
    response = server.get(target)
    assert (response.status, response.text, response.broken) == (200, "one two", None)


@pytest.mark.conformance("E20", "E24")
@pytest.mark.parametrize("way", WAYS)
def test_a_message_is_the_apps_again_after_send(server: Server, way: str) -> None:
    assert ask(server, way, "GET", "/messages_that_change").text == "one two "


@pytest.mark.smoke
@pytest.mark.conformance("E16")
@pytest.mark.parametrize("kind", ["tuple", "lists", "generator", "generators", "items", "iterator"])
def test_headers_may_be_any_iterable_of_pairs(server: Server, kind: str) -> None:
    response = server.get(f"/made_headers?{kind}")
    assert (response.status, response.text) == (200, "ok")
    assert (response.get("x-a"), response.get("x-b")) == ("1", "2")


@pytest.mark.smoke
@pytest.mark.conformance("E20")
@pytest.mark.parametrize("way", WAYS)
def test_a_body_may_be_any_kind_of_bytes(server: Server, way: str) -> None:
    assert ask(server, way, "GET", "/kinds_of_bytes").text == "one two three four five"


# The length of the body


@pytest.mark.smoke
@pytest.mark.conformance("E21")
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(
    "target", ["/in_one", "/in_one_with_length", "/own_length", "/one_length_given_twice"]
)
def test_a_length_that_is_known_is_sent_once(server: Server, way: str, target: str) -> None:
    response = ask(server, way, "GET", target)
    assert response.all("content-length") == ["10"]
    assert response.body == b"x" * 10
    assert is_whole(response)


@pytest.mark.conformance("E21")
@pytest.mark.parametrize("way", WAYS)
def test_a_length_that_nobody_knows_does_not_matter(server: Server, way: str) -> None:
    response = ask(server, way, "GET", "/unknown_length")
    assert response.body == b"x" * 10
    assert is_whole(response)


@pytest.mark.conformance("E15", "E21")
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("target", ["/nothing", "/nothing_in_pieces"])
def test_an_empty_body_is_a_complete_answer(server: Server, way: str, target: str) -> None:
    response = ask(server, way, "GET", target)
    assert (response.status, response.body) == (200, b"")
    assert is_whole(response)


@pytest.mark.conformance("E21", "E24")
@pytest.mark.parametrize("way", EVERY_WAY)
@pytest.mark.parametrize("size", [65536, 65536 + 256, 1 << 20, pytest.param(None, id="large")])
def test_a_body_of_any_size_arrives_whole(server: Server, way: str, size: int | None) -> None:
    size = size or LARGE[way]
    response = ask(server, way, "GET", f"/of_a_size?{size}")
    assert response.get("content-length") == str(size)
    assert response.body == bytes(range(256)) * (size // 256)


# Statuses


@pytest.mark.conformance("E18")
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("status", [200, 203, 299, 418, 451, 499, 500, 599, 999])
def test_an_unusual_status_keeps_its_number(server: Server, way: str, status: int) -> None:
    response = ask(server, way, "GET", f"/own_status?{status}")
    assert (response.status, response.text, response.broken) == (status, "as asked", None)


NO_BODY = ["/own_status", "/own_status_in_pieces", "/own_status_with_length", "/own_status_alone"]


@pytest.mark.smoke
@pytest.mark.conformance("E23")
@pytest.mark.parametrize("way", HTTP1)
@pytest.mark.parametrize("status", [204, 304])
@pytest.mark.parametrize("target", NO_BODY)
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


@pytest.mark.conformance("E23")
@pytest.mark.parametrize("status", [204, 304])
@pytest.mark.parametrize("target", NO_BODY)
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
@pytest.mark.conformance("E23")
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(
    "target",
    [
        "/in_one",
        "/own_length",
        "/unknown_length",
        "/repeated_headers",
        "/own_status?404",
    ],
)
def test_head_gets_the_headers_of_get(server: Server, way: str, target: str) -> None:
    def relevant(response: Response) -> list[Header]:
        # Chunking is how a body of unknown length is framed: there is none here.
        own = ("date", "transfer-encoding")
        return sorted(field for field in response.headers if field[0] not in own)

    get, head = (ask(server, way, method, target) for method in ("GET", "HEAD"))
    assert (head.status, head.body, head.broken) == (get.status, b"", None)
    assert relevant(head) == relevant(get)


@pytest.mark.conformance("E23")
@pytest.mark.parametrize("way", WAYS)
def test_no_length_is_made_up_for_head(server: Server, way: str) -> None:
    response = ask(server, way, "HEAD", "/no_body_for_head")
    assert (response.status, response.broken) == (200, None)
    assert response.get("content-length") is None


@pytest.mark.conformance("E23")
@pytest.mark.parametrize("way", HTTP1)
def test_head_leaves_the_connection_usable(server: Server, way: str) -> None:
    """Had a body followed, it would be taken for the head of the next answer."""
    with connect1(server, way) as connection:
        for target in ("/in_one", "/unknown_length", "/own_length", "/own_status_alone?200"):
            connection.request("HEAD", target)
            assert connection.response().status == 200
            connection.request("GET", "/hello")
            assert connection.response().text == "hello"


@pytest.mark.conformance("E23")
@pytest.mark.parametrize("way", WAYS)
def test_what_an_app_sends_for_head_is_dropped_without_disturbing_it(
    server: Server, board: Board, way: str
) -> None:
    response = ask(server, way, "HEAD", "/counts_after_a_head", board.headers)
    assert (response.status, response.body, response.broken) == (200, b"", None)
    board.wait("closed")


# Headers


@pytest.mark.smoke
@pytest.mark.conformance("E16")
@pytest.mark.parametrize("way", WAYS)
def test_headers_of_one_name_stay_separate_and_in_order(server: Server, way: str) -> None:
    response = ask(server, way, "GET", "/repeated_headers")
    assert response.all("x-many") == ["0", "1", "3", "5"]
    assert response.all("x-other") == ["2", "4"]
    assert response.all("set-cookie") == ["a=1; Path=/", "b=2", "a=1"]


@pytest.mark.conformance("E16")
@pytest.mark.parametrize("way", WAYS)
def test_many_headers_arrive(server: Server, way: str) -> None:
    response = ask(server, way, "GET", "/many_headers")
    assert [response.get(f"x-{number}") for number in range(300)] == [str(n) for n in range(300)]


@pytest.mark.conformance("E16", "E19")
@pytest.mark.parametrize("way", WAYS)
def test_header_values_arrive_as_their_bytes(server: Server, way: str) -> None:
    response = ask(server, way, "GET", "/odd_values")
    assert response.get("x-latin") == "caf\u00e9 \u00ff"
    assert response.get("x-utf") == "caf\u00e9".encode().decode("latin-1")
    assert response.get("x-empty") == ""
    assert response.get("x-tab") == "a\tb"
    assert response.get("x-space") == "a b"
    assert response.get("x-long") == "x" * 20_000
    assert response.get("!#$%&'*+-.^_`|~09az") == "token"


@pytest.mark.smoke
@pytest.mark.conformance("E21", "S24")
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
    assert "x-secret" not in (response.get("connection") or "")
    assert len(response.all("transfer-encoding")) <= 1
    assert is_whole(response)
    if way not in HTTP1:
        assert response.get("connection") is None
        assert response.get("transfer-encoding") is None


@pytest.mark.conformance("E21")
@pytest.mark.parametrize("way", HTTP1)
def test_the_app_cannot_close_or_keep_the_connection(server: Server, way: str) -> None:
    with connect1(server, way) as connection:
        connection.request("GET", "/wants_to_close")
        assert connection.response().text == "body"
        connection.request("GET", "/hello", [("Connection", "close")])
        assert connection.response().text == "hello"
        assert connection.is_closed()


@pytest.mark.conformance("E37")
@pytest.mark.parametrize("way", WAYS)
def test_a_trailer_header_without_trailers_breaks_nothing(server: Server, way: str) -> None:
    response = ask(server, way, "GET", "/announces_trailers")
    assert (response.status, response.text, response.broken) == (200, "body", None)


@pytest.mark.smoke
@pytest.mark.conformance("E39")
@pytest.mark.parametrize("way", WAYS)
def test_date_and_server_come_once(server: Server, way: str) -> None:
    response = ask(server, way, "GET", "/dated")
    assert response.all("date") == ["Mon, 01 Jan 2001 00:00:00 GMT"]
    assert response.all("server") == ["of the app"]
    other = ask(server, way, "GET", "/hello")
    assert len(other.all("date")) == 1
    assert len(other.all("server")) == 1


@pytest.mark.conformance("E39")
def test_no_content_type_is_made_up(server: Server) -> None:
    response = server.get("/no_type")
    assert (response.get("content-type"), response.text) == (None, "<html>")


# HTTP/1.0


@pytest.mark.conformance("E21", "S30")
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


@pytest.mark.conformance("E21", "S30")
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
