"""A client that leaves is noticed by each framework, also in a quiet stream, and is no error."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import pytest

from harness.board import Board
from harness.caddyfile import asgi
from harness.health import Slack
from harness.plugin import Serve
from harness.server import Server
from harness.settings import APPS
from harness.ways import connect1, connect_streams

CROWD = 5

SITES = {
    "starlette_main:app": ["/quiet", "/busy", "/tight", "/poll"],
    "starlette_main:layered": ["/quiet", "/busy", "/poll"],
    "fastapi_main:app": ["/quiet", "/busy", "/events", "/quiet_events", "/poll"],
    "quart_main:app": ["/quiet", "/busy", "/events", "/poll"],
    "litestar_main:app": ["/quiet", "/busy", "/events", "/quiet_events", "/poll"],
    "django_main:app": ["/quiet", "/busy", "/events", "/poll"],
    # It looks whether the client is there between two events; in `stream` it does not.
    "falcon_main:app": ["/events", "/poll"],
}

QUIET = ["/quiet", "/quiet_events"]

Come = Callable[[ExitStack, Server, str, Board], Callable[[], None]]


def over_http_1(stack: ExitStack, server: Server, target: str, board: Board) -> Callable[[], None]:
    client = stack.enter_context(connect1(server, "HTTP/1.1"))
    client.request("GET", target, board.headers)
    return client.close


def with_a_reset(stack: ExitStack, server: Server, target: str, board: Board) -> Callable[[], None]:
    client = stack.enter_context(connect1(server, "HTTP/1.1"))
    client.request("GET", target, board.headers)
    return client.reset


def by_streams(way: str) -> Come:
    def come(stack: ExitStack, server: Server, target: str, board: Board) -> Callable[[], None]:
        client = connect_streams(server, way)
        stack.callback(client.close)
        number = client.start("GET", target, board.headers)
        return lambda: client.cancel(number)

    return come


@pytest.fixture(scope="module", params=list(SITES))
def server(serve_module: Serve, request: pytest.FixtureRequest) -> Server:
    options = (f"python_path {APPS / 'bare'}", "lifespan off")
    site = asgi(request.param, *options, folder="leaving")
    # Litestar begins threads of its executor when it is first busy.
    return serve_module(site, site, tls=True, probe="/hello", slack=Slack(python_threads=8))


@pytest.mark.conformance("E04", "E26")
@pytest.mark.parametrize(
    "come",
    [over_http_1, with_a_reset, by_streams("HTTP/2"), by_streams("HTTP/3 over TLS")],
    ids=["closes", "resets", "cancels in HTTP-2", "cancels in HTTP-3"],
)
def test_a_client_that_leaves_ends_what_it_asked_for(
    server: Server, request: pytest.FixtureRequest, tmp_path: Path, come: Come
) -> None:
    for target in SITES[request.node.callspec.params["server"]]:
        board = Board(tmp_path / target[1:])
        with ExitStack() as stack:
            leave = [come(stack, server, target, board) for _ in range(CROWD)]
            board.wait("running", CROWD)
            for one in leave:
                one()
            if target == "/poll":
                board.post("go")
            board.wait("ended", CROWD)
            if target not in QUIET:
                # A framework that is cancelled between two pieces drops the generator; cycles of
                # exceptions keep it until they are collected.
                assert server.get("/hello").status == 200
            board.wait("closed", CROWD)
        assert board.lines("error") == [], target
