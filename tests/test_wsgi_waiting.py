"""Requests that wait for their clients: they take no place from those that run."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import pytest

from harness import http1, proc
from harness.board import Board
from harness.caddyfile import wsgi
from harness.http1 import Connection
from harness.plugin import Serve
from harness.server import Server
from harness.waiting import wait_for

SIZE = 70_000
# The limit of threads that wait for their clients, beside those that run.
ASIDE = 256


def start(serve: Serve, threads: int) -> Server:
    return serve(wsgi("wsgi_concurrency:app", f"threads {threads}"), probe="/hello")


@contextlib.contextmanager
def connected(server: Server, count: int) -> Iterator[list[Connection]]:
    with contextlib.ExitStack() as stack:
        yield [
            stack.enter_context(Connection(server.port, receive_buffer=4096)) for _ in range(count)
        ]


def begin_upload(client: Connection, board: Board) -> None:
    client.request_head("POST", "/reads", board.headers, length=SIZE)
    client.send(b"abc")


def end_upload(client: Connection) -> None:
    client.send(bytes(SIZE - 3))


def pool(server: Server) -> int:
    return sum(name == "wsgi" for name in proc.thread_names(server.pid))


@pytest.mark.conformance("S10", "S31")
def test_clients_that_do_not_read_take_no_place(serve: Serve, board: Board) -> None:
    server = start(serve, 2)
    with connected(server, 40) as clients:
        for client in clients:
            client.request("GET", "/sends", board.headers)
        board.wait("sends", 40)
        assert server.get("/hello").text == "hello"
        for client in clients[:3]:
            assert len(client.response().body) == 32 << 20


@pytest.mark.conformance("I09", "S31")
def test_clients_that_do_not_send_take_no_place(serve: Serve, board: Board) -> None:
    server = start(serve, 2)
    with connected(server, 40) as clients:
        for client in clients:
            begin_upload(client, board)
        board.wait("reads", 40)
        assert server.get("/hello").text == "hello"
        for client in clients:
            end_upload(client)
        for client in clients:
            assert client.response().text == str(SIZE)
    assert max(map(int, board.lines("running"))) <= 2


@pytest.mark.conformance("S31")
def test_a_request_whose_client_moves_waits_for_a_place(serve: Serve, board: Board) -> None:
    server = start(serve, 2)
    with connected(server, 8) as uploads, connected(server, 4) as others:
        for client in uploads:
            begin_upload(client, board)
        board.wait("reads", 8)
        for client in others:
            client.request("GET", "/waits", board.headers)
        assert board.wait("running", 2) == ["1", "2"]
        for client in uploads:
            end_upload(client)
        assert http1.request(server.canary, "GET", "/wsgi").status == 200
        assert board.wait_until_still("running") == 2
        board.post("go")
        for client in others:
            assert client.response().text == "done"
        for client in uploads:
            assert client.response().text == str(SIZE)
    assert sorted(set(board.lines("running"))) == ["1", "2"]


@pytest.mark.conformance("S31")
def test_with_one_thread_a_request_ends_before_the_next_begins(serve: Serve, board: Board) -> None:
    """An app that says `threads 1` need not be safe for a second request inside of a first."""
    server = start(serve, 1)
    with connected(server, 2) as (upload, other):
        begin_upload(upload, board)
        board.wait("reads")
        other.request("GET", "/waits", board.headers)
        assert http1.request(server.canary, "GET", "/wsgi").status == 200
        end_upload(upload)
        assert upload.response().text == str(SIZE)
        assert board.wait("running", 2) == ["1", "1"]
        board.post("go")
        assert other.response().text == "done"


@pytest.mark.conformance("S31")
def test_threads_that_wait_for_clients_are_limited(serve: Serve, board: Board) -> None:
    server = start(serve, 2)
    with connected(server, ASIDE + 12) as clients:
        for client in clients:
            begin_upload(client, board)
        board.wait("reads", ASIDE + 2, 30)
        assert http1.request(server.canary, "GET", "/wsgi").status == 200
        assert board.wait_until_still("reads") == ASIDE + 2
        # Beside them, one that serves the other apps, one to spare, and one that was to end.
        assert pool(server) <= ASIDE + 2 + 3
        for client in clients:
            end_upload(client)
        for client in clients:
            assert client.response().text == str(SIZE)
    assert max(map(int, board.lines("running"))) <= 2
    wait_for(lambda: server.get("/hello").text == "hello", "the app to answer")
