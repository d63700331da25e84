"""What can differ over HTTP/3, beyond what all tests with `WAYS` do there."""

from __future__ import annotations

import pytest

from harness.board import Board
from harness.caddyfile import asgi, wsgi
from harness.plugin import Serve
from harness.server import Server
from harness.ways import STREAMS, WAYS, ask, connect_streams

CROWD = 10
FORBIDDEN = ["Content-Length", "Host", "authorization", "if-match", "Content-Type", "trailer"]


@pytest.fixture(scope="module")
def extensions(serve_module: Serve) -> Server:
    site = asgi("asgi_extensions:app", "lifespan off")
    return serve_module(site, site, tls=True, probe="/hello")


@pytest.fixture(scope="module", params=["wsgi", "asgi"])
def leaving(serve_module: Serve, request: pytest.FixtureRequest) -> Server:
    site = {
        "wsgi": wsgi("leaving_wsgi:app"),
        "asgi": asgi("leaving_asgi:app", "lifespan off"),
    }[request.param]
    return serve_module(site, site, tls=True, probe="/hello")


@pytest.mark.conformance("E37")
@pytest.mark.parametrize("way", STREAMS)
def test_trailers_follow(extensions: Server, way: str) -> None:
    with connect_streams(extensions, way) as connection:
        stream = connection.request("GET", "/trailers")
    assert sorted(stream.trailers) == [("x-b", "3"), ("x-sum", "1"), ("x-sum", "2")]


@pytest.mark.conformance("E37")
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("name", FORBIDDEN)
def test_what_must_not_be_a_trailer_is_an_error(extensions: Server, way: str, name: str) -> None:
    extensions.expect_app_log("can't be a trailer")
    headers = [("TE", "trailers")]
    assert ask(extensions, way, "GET", f"/forbidden_trailer?{name}", headers).broken is not None


@pytest.mark.conformance("E38")
@pytest.mark.parametrize("way", STREAMS)
def test_early_hints_come_before_the_response(extensions: Server, way: str) -> None:
    response = ask(extensions, way, "GET", "/hints")
    assert (response.status, response.broken, response.interim) == (200, None, [103, 103])


@pytest.mark.conformance("S12", "E26")
@pytest.mark.parametrize("stage", ["/runs", "/streams", "/reads"])
def test_cancelled_streams(leaving: Server, board: Board, stage: str) -> None:
    with leaving.connect3() as connection:
        numbers = [
            connection.start("POST", stage, board.headers, b"a part", end=False)
            for _ in range(CROWD)
        ]
        board.wait("running", CROWD)
        for number in numbers:
            connection.cancel(number)
        board.post("go")
        board.wait("closed", CROWD)
        assert board.lines("taken for whole") == []
        assert connection.request("GET", "/hello").body == b"hello"


@pytest.mark.conformance("S12", "E26")
@pytest.mark.parametrize("stage", ["/runs", "/streams", "/reads"])
def test_dropped_connections(leaving: Server, board: Board, stage: str) -> None:
    with leaving.connect3() as connection:
        for _ in range(CROWD):
            connection.start("POST", stage, board.headers, b"a part", end=False)
        board.wait("running", CROWD)
    board.post("go")
    board.wait("closed", CROWD)
    assert board.lines("taken for whole") == []


def test_a_body_that_the_client_aborts(leaving: Server, board: Board) -> None:
    leaving.allow_log("")
    with leaving.connect3() as connection:
        number = connection.start("POST", "/reads", board.headers, b"part", end=False)
        board.wait("running")
        connection.abort_body(number)
        board.wait("closed")
    assert board.lines("taken for whole") == []
