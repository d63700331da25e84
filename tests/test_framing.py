"""What net/http keeps apart from the headers of a request reaches no app twice, over no protocol.

An app that believed a second host, or a second length, would do something else than Caddy has
routed and framed the request by.
"""

from __future__ import annotations

import json

import pytest

from harness.board import Board
from harness.caddyfile import asgi, wsgi
from harness.environs import environ
from harness.http1 import Header, Response
from harness.plugin import Serve
from harness.server import Server
from harness.ways import (
    EVERY_STREAM,
    HTTP1,
    HTTP2,
    STREAMS,
    WAYS,
    ask,
    connect1,
    connect_streams,
    port_of,
)

BAD_LENGTHS = [["x"], ["-1"], ["+5"], ["0", "5"]]


@pytest.fixture(scope="module")
def server(serve_module: Serve) -> Server:
    site = "\n".join(
        [
            wsgi("wsgi_request:app", matcher="/wsgi"),
            asgi("asgi_scope:show_scope", "lifespan off", matcher="/asgi"),
            "request_body /set/* {\nset 1234567\n}",
            f"handle_path /set/* {{\n{wsgi('wsgi_request:app')}\n}}",
        ]
    )
    return serve_module(site, site, tls=True)


@pytest.fixture(scope="module", params=["wsgi", "asgi"])
def leaving(serve_module: Serve, request: pytest.FixtureRequest) -> Server:
    site = {
        "wsgi": wsgi("leaving_wsgi:app"),
        "asgi": asgi("leaving_asgi:app", "lifespan off"),
    }[request.param]
    return serve_module(site, site, tls=True, probe="/hello")


def seen(response: Response, name: str) -> list[str]:
    """What the app got under this name: both apps show it, in their own ways."""
    if response.body.startswith(b'{"type": "dict"'):
        headers = json.loads(response.body)["scope"]["headers"]
        return [value["bytes"] for key, value in headers if key["bytes"] == name]
    found = environ(response)
    key = name.upper().replace("-", "_")
    return [found[k] for k in (key, f"HTTP_{key}") if k in found]


@pytest.mark.parametrize("target", ["/wsgi", "/asgi"])
@pytest.mark.parametrize("way", EVERY_STREAM)
def test_a_host_beside_authority_reaches_no_app(server: Server, way: str, target: str) -> None:
    """Go's HTTP/2 and HTTP/3 refuse one that differs, of late; it is not ours to count on."""
    authority = f"127.0.0.1:{port_of(server, way)}"
    for others in [
        ["evil.example"],
        ["evil.example", "worse.example"],
        [authority, "evil.example"],
    ]:
        response = ask(server, way, "GET", target, [("host", other) for other in others])
        assert response.broken is not None or seen(response, "host") == [authority]
    assert seen(ask(server, way, "GET", target, [("host", authority)]), "host") == [authority]


@pytest.mark.parametrize("target", ["/wsgi", "/asgi"])
@pytest.mark.parametrize("way", HTTP1)
def test_the_host_of_an_absolute_target_wins(server: Server, way: str, target: str) -> None:
    authority = f"127.0.0.1:{port_of(server, way)}"
    with connect1(server, way) as connection:
        connection.request("GET", f"http://{authority}{target}", [("Host", "evil.example")])
        assert seen(connection.response(), "host") == [authority]


@pytest.mark.parametrize("target", ["/wsgi", "/asgi"])
@pytest.mark.parametrize("way", STREAMS)
@pytest.mark.parametrize(
    "field",
    [
        ("connection", "close"),
        ("keep-alive", "1"),
        ("proxy-connection", "close"),
        ("transfer-encoding", "chunked"),
        ("upgrade", "websocket"),
        ("te", "gzip"),
        (":extra", "x"),
        ("name:", "x"),
    ],
    ids=lambda field: field[0],
)
def test_what_belongs_to_a_connection_of_http_1_is_refused(
    server: Server, way: str, target: str, field: Header
) -> None:
    with connect_streams(server, way) as connection:
        try:
            stream = connection.request("GET", target, [field])
        except ConnectionError:
            return
    assert stream.reset is not None or stream.status == 400


@pytest.mark.parametrize("target", ["/wsgi", "/asgi"])
@pytest.mark.parametrize("way", WAYS)
def test_the_length_is_the_one_that_the_body_is_read_by(
    server: Server, way: str, target: str
) -> None:
    assert seen(ask(server, way, "POST", target, (), b"12345"), "content-length") == ["5"]
    assert seen(ask(server, way, "GET", target), "content-length") == []


@pytest.mark.parametrize("way", WAYS)
def test_a_body_that_caddy_sets_has_its_own_length(server: Server, way: str) -> None:
    response = ask(server, way, "POST", "/set/", (), b"12")
    assert seen(response, "content-length") == ["7"]


@pytest.mark.parametrize("target", ["/wsgi", "/asgi"])
@pytest.mark.parametrize("way", HTTP2)
@pytest.mark.parametrize(
    ("lengths", "ends"),
    [
        (["5"], True),  # Later is for the next test: such a body is awaited.
        *[(lengths, ends) for lengths in BAD_LENGTHS for ends in (True, False)],
    ],
)
def test_a_length_that_http_2_does_not_go_by_is_refused(
    server: Server, way: str, target: str, lengths: list[str], ends: bool
) -> None:
    with connect_streams(server, way) as connection:
        fields = [("content-length", value) for value in lengths]
        number = connection.start("POST", target, fields, end=ends)
        stream = connection.wait(number, lambda stream: stream.status is not None)
    assert stream.reset is not None or stream.status == 400


@pytest.mark.parametrize("way", STREAMS)
@pytest.mark.parametrize(("length", "sent"), [(1000, 500), (200_000, 100_000), (10, 0)])
def test_a_body_that_ends_before_its_length_is_not_taken_for_whole(
    leaving: Server, board: Board, way: str, length: int, sent: int
) -> None:
    leaving.allow_log("")
    with connect_streams(leaving, way) as connection:
        fields = [*board.headers, ("content-length", str(length))]
        number = connection.start("POST", "/reads", fields, end=False)
        board.wait("running")
        connection.send_all(number, bytes(sent))
        connection.send_data(number, b"", end=True)
        connection.response(number)
        board.wait("closed")
    assert board.lines("taken for whole") == []
