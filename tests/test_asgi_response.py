"""How an ASGI app answers (conformance section E).

What both interfaces have is in test_response_framing.py, streams are in test_asgi_streaming.py,
what apps must not do in test_asgi_mistakes.py.
"""

from __future__ import annotations

import pytest

from harness.board import Board
from harness.caddyfile import asgi
from harness.http1 import Response
from harness.plugin import Serve
from harness.server import Server
from harness.ways import EVERY_WAY, LARGE, WAYS, ask


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


@pytest.mark.conformance("E21", "E24")
@pytest.mark.parametrize("way", EVERY_WAY)
@pytest.mark.parametrize("size", [65536, 65536 + 256, 1 << 20, pytest.param(None, id="large")])
def test_a_body_of_any_size_arrives_whole(server: Server, way: str, size: int | None) -> None:
    size = size or LARGE[way]
    response = ask(server, way, "GET", f"/of_a_size?{size}")
    assert response.get("content-length") == str(size)
    assert response.body == bytes(range(256)) * (size // 256)


# HEAD


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
