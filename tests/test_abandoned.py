"""Requests that run on without their client: they count against its HTTP/2 or 3 connection."""

from __future__ import annotations

from functools import partial

import pytest

from harness.board import Board
from harness.caddyfile import asgi, wsgi
from harness.plugin import Serve
from harness.server import Server
from harness.streams import StreamClient
from harness.waiting import wait_for
from harness.ways import STREAMS, connect_streams

LIMIT = 250
BATCH = 50
REFUSED = "too many requests that this client has left still run"


@pytest.fixture(scope="module")
def server(serve_module: Serve) -> Server:
    site = asgi("abandoned_asgi:app", "lifespan off")
    return serve_module(site, site, tls=True, probe="/hello")


def numbers(server: Server) -> list[int]:
    """How many requests run, were cancelled, and are in memory, apart from this one."""
    running, cancelled, left = map(int, server.get("/numbers").text.split())
    return [running, cancelled, left - 1]


def runs(server: Server, client: StreamClient, count: int) -> bool:
    # Over HTTP/3, this also takes in how many streams may follow.
    assert client.request("GET", "/hello").status == 200
    return numbers(server)[0] == count


def abandon(server: Server, client: StreamClient, target: str, count: int) -> None:
    """Paced: each request runs before it is reset."""
    while count > 0:
        size = min(count, BATCH)
        expected = numbers(server)[0] + size
        streams = [client.start("GET", target) for _ in range(size)]
        wait_for(partial(runs, server, client, expected), "the requests to run")
        for number in streams:
            client.cancel(number)
        count -= size


def is_refused(client: StreamClient) -> bool:
    stream = client.request("GET", "/hello")
    assert stream.status in (200, 503)
    assert stream.all("retry-after") == (["1"] if stream.status == 503 else [])
    return stream.status == 503


@pytest.mark.parametrize("way", STREAMS)
def test_a_connection_is_refused_more_while_too_many_run(server: Server, way: str) -> None:
    server.expect_log(REFUSED, times=None)
    with connect_streams(server, way) as client, connect_streams(server, way) as other:
        abandon(server, client, "/runs", LIMIT - 1)
        assert client.request("GET", "/hello").status == 200
        abandon(server, client, "/runs", 1)
        wait_for(lambda: is_refused(client), "the connection to be at its limit")
        assert is_refused(client)
        assert numbers(server)[0] == LIMIT
        assert other.request("GET", "/hello").status == 200
        assert other.request("GET", "/end").status == 200
        wait_for(lambda: not is_refused(client), "the connection to be served again")
    wait_for(lambda: numbers(server)[::2] == [0, 0], "all of the requests to be freed")


def test_only_at_the_limit_are_those_cancelled_that_run_for_long(server: Server) -> None:
    server.expect_log(REFUSED, times=None)
    before = numbers(server)[1]
    with connect_streams(server, "HTTP/2") as below, connect_streams(server, "HTTP/2") as at:
        abandon(server, below, "/runs", 10)
        for _ in range(LIMIT + 10):  # they are no one's any more
            assert at.wait(at.start("GET", "/answered"), lambda s: s.ended).status == 200
        assert at.request("GET", "/hello").status == 200
        abandon(server, at, "/stubborn", 20)
        abandon(server, at, "/runs", LIMIT - 20)
        wait_for(lambda: is_refused(at), "the connection to be at its limit")
        wait_for(lambda: numbers(server)[1] > before, "the oldest to be cancelled", 45)
        wait_for(lambda: not is_refused(at), "the connection to be served again")
        assert below.request("GET", "/hello").status == 200
        assert numbers(server)[0] >= 10 + LIMIT + 10 + 20
    server.get("/end")
    wait_for(lambda: numbers(server)[::2] == [0, 0], "all of the requests to be freed")


@pytest.mark.in_process("a request waits in Caddy, not for a thread")
def test_requests_of_a_wsgi_app_count_while_they_run_or_wait(serve: Serve, board: Board) -> None:
    server = serve("handle /ping {\n\trespond pong\n}\n" + wsgi("leaving_wsgi:app", "threads 1"))
    server.expect_log(REFUSED, times=None)
    with server.connect2() as client, server.connect2() as other:
        running = client.start("GET", "/runs", board.headers)
        board.wait("running")
        client.cancel(running)
        for _ in range(LIMIT - 1):
            client.cancel(client.start("GET", "/hello"))

        def is_at_limit() -> bool:
            number = client.start("GET", "/hello")
            assert client.request("GET", "/ping").body == b"pong"
            if client.streams[number].status == 503:
                return True
            client.cancel(number)  # it waits, too
            return False

        wait_for(is_at_limit, "the connection to be at its limit")
        waiting = other.start("GET", "/hello")
        board.post("go")
        assert other.response(waiting).status == 200
        wait_for(lambda: not is_refused(client), "the connection to be served again")
