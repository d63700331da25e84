"""Many requests at once, slow ones among them, and apps that keep others waiting."""

from __future__ import annotations

from collections.abc import Iterable

import pytest

from harness import http1, proc
from harness.board import Board
from harness.caddyfile import asgi, wsgi
from harness.http1 import Connection
from harness.plugin import Serve
from harness.server import Server

MANY = 500


def ask_all(server: Server, target: str, board: Board, count: int) -> list[Connection]:
    clients = [server.connect(timeout=60) for _ in range(count)]
    for client in clients:
        client.request("GET", target, board.headers)
    return clients


def statuses(clients: Iterable[Connection]) -> set[int]:
    found = set()
    for client in clients:
        response = client.response()
        assert response.broken is None
        found.add(response.status)
        client.close()
    return found


def canaries_answer(server: Server) -> None:
    for target in ("/wsgi", "/asgi"):
        assert http1.request(server.canary, "GET", target).status == 200


@pytest.mark.smoke
@pytest.mark.conformance("E35")
def test_500_slow_asgi_requests_run_at_once(serve: Serve, board: Board) -> None:
    server = serve(asgi("asgi_messages:app", "lifespan off"), probe="/hello")
    threads = len(proc.thread_names(server.pid))
    clients = ask_all(server, "/patient", board, MANY)
    board.wait("running", MANY, 30)
    canaries_answer(server)
    assert len(proc.thread_names(server.pid)) < threads + 20
    board.post("go")
    assert statuses(clients) == {200}


@pytest.mark.smoke
@pytest.mark.conformance("S31")
def test_500_slow_wsgi_requests_share_the_threads_of_the_app(serve: Serve, board: Board) -> None:
    server = serve(wsgi("wsgi_concurrency:app"), probe="/hello")
    clients = ask_all(server, "/waits", board, MANY)
    board.wait("running", 32, 30)
    canaries_answer(server)
    assert len(board.lines("running")) == 32
    board.post("go")
    assert statuses(clients) == {200}
    assert server.get("/most").text == "32"


@pytest.mark.conformance("S31")
@pytest.mark.parametrize("threads", [1, 8])
def test_threads_limits_how_many_requests_run_at_once(
    serve: Serve, board: Board, threads: int
) -> None:
    server = serve(wsgi("wsgi_concurrency:app", f"threads {threads}"), probe="/hello")
    clients = ask_all(server, "/waits", board, threads + 4)
    board.wait("running", threads)
    canaries_answer(server)
    board.post("go")
    assert statuses(clients) == {200}
    assert server.get("/most").text == str(threads)


@pytest.mark.smoke
@pytest.mark.conformance("E33")
def test_an_asgi_app_that_blocks_its_loop_stalls_only_itself(serve: Serve, board: Board) -> None:
    server = serve(asgi("asgi_messages:app", "lifespan off"), probe="/hello")
    with server.connect() as connection:
        connection.request("GET", "/blocks_its_loop", board.headers)
        board.wait("running")
        canaries_answer(server)
        board.post("go")
        assert connection.response().status == 200


@pytest.mark.conformance("S31")
def test_a_busy_wsgi_app_leaves_time_to_others(serve: Serve, board: Board) -> None:
    server = serve(wsgi("wsgi_concurrency:app"), probe="/hello")
    clients = ask_all(server, "/busy", board, 4)
    board.wait("running", 4, 30)
    canaries_answer(server)
    assert server.get("/hello").text == "hello"
    board.post("go")
    assert statuses(clients) == {200}


@pytest.mark.conformance("M06", "I09")
def test_clients_that_never_finish_their_request_hold_up_nobody(serve: Serve, board: Board) -> None:
    server = serve(asgi("asgi_messages:app", "lifespan off"), probe="/hello")
    clients = [server.connect() for _ in range(200)]
    for client in clients[:100]:
        client.send(b"GET /hello HTTP/1.1\r\nHost: x\r\nX-Sl")
    for client in clients[100:]:
        client.request_head("POST", "/upload", board.headers, length=1000)
        client.send(b"x")
    canaries_answer(server)
    assert server.get("/hello").status == 200
    for client in clients:
        client.close()


@pytest.mark.conformance("S31", "E35")
def test_keep_alive_connections_serve_many_requests(serve: Serve) -> None:
    server = serve(wsgi("wsgi_concurrency:app"), asgi("asgi_messages:app", "lifespan off"))
    for port in server.ports:
        with Connection(port) as connection:
            for _ in range(500):
                connection.request("GET", "/hello")
                assert connection.response().status == 200


@pytest.mark.conformance("E07")
def test_stalled_uploads_to_a_wsgi_app_keep_to_its_threads(serve: Serve, board: Board) -> None:
    server = serve(wsgi("wsgi_input:app", "threads 4"), probe="/hello")
    clients = [server.connect() for _ in range(3)]
    for client in clients:
        client.request_head("POST", "/digest", board.headers, length=10)
        client.send(b"x")
    # One thread is left, and it serves.
    for _ in range(10):
        assert server.get("/hello").status == 200
    for client in clients:
        client.send(b"x" * 9)
        assert client.response().status == 200
        client.close()
