"""A client that goes away at every stage: the app learns of it, and nothing is left behind.

Each test sends a crowd, so that something kept per request shows up as a leak in the check that
follows every test.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest

from harness.board import Board
from harness.caddyfile import asgi, wsgi
from harness.http1 import Connection, Header
from harness.plugin import Serve
from harness.server import Server
from harness.waiting import wait_for

CROWD = 20

Leave = Callable[[Connection], None]


@pytest.fixture(scope="module", params=["wsgi", "asgi"])
def server(serve_module: Serve, request: pytest.FixtureRequest) -> Server:
    site = {
        "wsgi": wsgi("leaving_wsgi:app"),
        "asgi": asgi("leaving_asgi:app", "lifespan off"),
    }[request.param]
    return serve_module(site, probe="/hello")


@pytest.fixture(params=["close", "reset"])
def leave(request: pytest.FixtureRequest) -> Leave:
    return {"close": Connection.close, "reset": Connection.reset}[request.param]


def crowd(server: Server, act: Callable[[Connection], None]) -> list[Connection]:
    """So many clients who did the same. They leave at the latest when they are forgotten."""
    clients = [server.connect() for _ in range(CROWD)]
    for client in clients:
        act(client)
    return clients


def test_before_the_head_is_complete(server: Server, leave: Leave) -> None:
    for client in crowd(server, lambda c: c.send(b"GET /hello HTTP/1.1\r\nHost: x\r\nX-Ha")):
        leave(client)


@pytest.mark.parametrize("sent", [b"", b"x" * 500], ids=["before the body", "mid body"])
def test_before_a_small_body_is_complete(
    server: Server, board: Board, leave: Leave, sent: bytes
) -> None:
    def act(client: Connection) -> None:
        client.request_head("POST", "/reads", board.headers, length=1000)
        client.send(sent)

    for client in crowd(server, act):
        leave(client)
    # The server may wait for a small body before it calls the app.
    wait_for(
        lambda: len(board.lines("closed")) == len(board.lines("running")),
        "the apps that were called to end",
    )
    assert board.lines("taken for whole") == []


@pytest.mark.smoke
@pytest.mark.parametrize("sent", [b"", b"x" * 500], ids=["before the body", "mid body"])
def test_while_the_app_waits_for_the_body(
    server: Server, board: Board, leave: Leave, sent: bytes
) -> None:
    def act(client: Connection) -> None:
        client.request_head("POST", "/reads", board.headers, length=10_000_000)
        client.send(sent)

    clients = crowd(server, act)
    board.wait("running", CROWD)
    for client in clients:
        leave(client)
    board.wait("closed", CROWD)
    assert board.lines("taken for whole") == []


def test_mid_chunk_of_a_chunked_body(server: Server, board: Board, leave: Leave) -> None:
    def act(client: Connection) -> None:
        client.request_head("POST", "/reads", board.headers, body="chunked")
        client.send(b"100\r\nonly a part")

    clients = crowd(server, act)
    board.wait("running", CROWD)
    for client in clients:
        leave(client)
    board.wait("closed", CROWD)
    assert board.lines("taken for whole") == []


@pytest.mark.smoke
def test_while_the_app_runs(server: Server, board: Board, leave: Leave) -> None:
    clients = crowd(server, lambda client: client.request("GET", "/runs", board.headers))
    board.wait("running", CROWD)
    for client in clients:
        leave(client)
    board.post("go")
    board.wait("closed", CROWD)


@pytest.mark.smoke
@pytest.mark.conformance("S12", "E26")
def test_mid_response(server: Server, board: Board, leave: Leave) -> None:
    def act(client: Connection) -> None:
        client.request("GET", "/streams", board.headers)
        client.head()
        next(client.chunks())

    clients = crowd(server, act)
    for client in clients:
        leave(client)
    board.wait("closed", CROWD)


@pytest.mark.conformance("S12", "E26")
def test_without_ever_reading_the_response(server: Server, board: Board, leave: Leave) -> None:
    clients = crowd(server, lambda client: client.request("GET", "/streams", board.headers))
    board.wait("running", CROWD)
    for client in clients:
        leave(client)
    board.wait("closed", CROWD)


@pytest.mark.conformance("S12", "E26")
@pytest.mark.parametrize("stage", ["/runs", "/streams", "/reads"])
def test_by_cancelling_an_http_2_stream(server: Server, board: Board, stage: str) -> None:
    headers: list[Header] = board.headers
    with server.connect2() as connection:
        numbers = [
            connection.start("POST", stage, headers, b"a part", end=False) for _ in range(CROWD)
        ]
        board.wait("running", CROWD)
        for number in numbers:
            connection.cancel(number)
        board.post("go")
        board.wait("closed", CROWD)
        assert board.lines("taken for whole") == []
        # The connection and its other streams live on.
        assert connection.request("GET", "/hello").body == b"hello"


@pytest.mark.conformance("S12", "E26")
@pytest.mark.parametrize("stage", ["/runs", "/streams", "/reads"])
def test_by_dropping_an_http_2_connection(server: Server, board: Board, stage: str) -> None:
    headers: list[Header] = board.headers
    with server.connect2() as connection:
        for _ in range(CROWD):
            connection.start("POST", stage, headers, b"a part", end=False)
        board.wait("running", CROWD)
    board.post("go")
    board.wait("closed", CROWD)
    assert board.lines("taken for whole") == []


@pytest.mark.conformance("E04")
def test_an_asgi_app_that_listens_learns_of_it(serve: Serve, board: Board, leave: Leave) -> None:
    server = serve(asgi("leaving_asgi:app", "lifespan off"), probe="/hello")
    clients = crowd(server, lambda client: client.request("GET", "/listens", board.headers))
    board.wait("running", CROWD)
    for client in clients:
        leave(client)
    board.wait("closed", CROWD)


@pytest.mark.conformance("S12", "E26")
def test_no_task_of_an_asgi_app_is_left_behind(serve: Serve, board: Board) -> None:
    server = serve(asgi("leaving_asgi:app", "lifespan off"), probe="/hello")
    baseline = int(server.get("/tasks").text)
    for target in ("/streams", "/listens"):
        clients = [server.connect() for _ in range(CROWD)]
        for client in clients:
            client.request("GET", target, board.headers)
        for client in clients:
            client.reset()
    wait_for(lambda: int(server.get("/tasks").text) <= baseline, "the tasks to end")
