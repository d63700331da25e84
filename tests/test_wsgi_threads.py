"""The threads that run WSGI apps, and those that apps start: order, state, and late work."""

from __future__ import annotations

import json

import pytest

from harness import http1, proc
from harness.board import Board
from harness.caddyfile import wsgi
from harness.plugin import Serve
from harness.server import Server
from harness.waiting import wait_for
from harness.ways import WAYS, ask


@pytest.fixture(scope="module")
def server(serve_module: Serve) -> Server:
    app = wsgi("wsgi_threads:app")
    return serve_module(app, app, tls=True, probe="/hello")


def handed_over(server: Server) -> int:
    """How many requests wait for an app, as the goroutines of the process tell."""
    stacks = http1.request(server.admin, "GET", "/debug/pprof/goroutine?debug=2").text
    return stacks.count("caddysnake.(*exchange).run(")


# threads


@pytest.mark.conformance("S31")
@pytest.mark.in_process("it looks into Caddy's process")
def test_one_thread_serves_in_the_order_of_arrival(serve: Serve, board: Board) -> None:
    server = serve(wsgi("wsgi_threads:app", "threads 1"), probe="/hello")
    clients = []
    for number in range(8):
        clients.append(server.connect())
        clients[-1].request("GET", f"/in_order?{number}", board.headers)
        wait_for(lambda n=number: handed_over(server) == n + 1, "the request to be handed over")
    assert board.wait("running") == [""], "one at a time"
    board.post("go")
    for number, client in enumerate(clients):
        assert json.loads(client.response().body) == [str(n) for n in range(number + 1)]
        client.close()


@pytest.mark.conformance("S31")
@pytest.mark.in_process("it looks into Caddy's process")
def test_requests_that_wait_for_a_thread_and_are_given_up_are_never_run(
    serve: Serve, board: Board
) -> None:
    server = serve(wsgi("wsgi_threads:app", "threads 1"), probe="/hello")
    with server.connect() as first, server.connect2() as given_up:
        first.request("GET", "/in_order?0", board.headers)
        board.wait("running")
        number = given_up.start("GET", "/in_order?1", board.headers)
        wait_for(lambda: handed_over(server) == 2, "the request to be handed over")
        given_up.cancel(number)
        wait_for(lambda: handed_over(server) == 1, "the request to be given up")
        board.post("go")
        assert json.loads(first.response().body) == ["0"]
        assert json.loads(server.get("/in_order?2", board.headers).body) == ["0", "2"]


@pytest.mark.conformance("S31")
@pytest.mark.in_process("it looks into Caddy's process")
def test_one_thread_at_a_time_is_added_however_long_it_takes_to_start(
    serve: Serve, board: Board
) -> None:
    server = serve(wsgi("wsgi_threads:app"), probe="/hello")

    def pool() -> int:
        # Python 3.14 gives a thread that begins its own name, with a number.
        return proc.thread_names(server.pid).count("wsgi")

    assert server.get("/holds_up_new_threads", board.headers).status == 200
    before = pool()
    clients = [server.connect() for _ in range(before - 1)]
    for client in clients:
        client.request("GET", "/in_order?0", board.headers)
    board.wait("running", before - 1)
    for _ in range(20):
        assert server.get("/hello").text == '"hello"'
    assert pool() == before
    board.post("begin")
    wait_for(lambda: pool() == before + 1, "one thread more")
    board.post("go")
    for client in clients:
        assert client.response().status == 200
        client.close()
    assert pool() == before + 1


# What is kept on a thread


@pytest.mark.conformance("S32")
def test_what_threading_local_keeps_stays_on_its_thread(serve: Serve, board: Board) -> None:
    """As under any server with threads, so that connections to databases can be kept there."""
    server = serve(wsgi("wsgi_threads:app", "threads 4"), probe="/hello")
    found = []
    for _ in range(5):
        clients = [server.connect() for _ in range(4)]
        for client in clients:
            client.request("GET", "/per_thread", board.headers)
        board.wait("running", len(found) + 4)
        board.post("go")
        for client in clients:
            found.append(json.loads(client.response().body))
            client.close()
    assert all(kept in (None, name) for name, kept in found)
    # The four that ran together were four, and none found what another had left.
    assert len({name for name, _ in found[:4]}) == 4
    assert [kept for _, kept in found[:4]] == [None] * 4


@pytest.mark.conformance("S32")
@pytest.mark.parametrize("way", WAYS)
def test_a_context_variable_is_forgotten_after_its_request(server: Server, way: str) -> None:
    for _ in range(20):
        assert json.loads(ask(server, way, "GET", "/in_context").body) == ["unset", 28]


@pytest.mark.conformance("S32", "S11")
@pytest.mark.parametrize("way", WAYS)
def test_a_request_has_one_context_to_its_end(server: Server, board: Board, way: str) -> None:
    response = ask(server, way, "GET", "/in_context_to_the_end", board.headers)
    assert response.text == "set by the call, "
    assert board.wait("closed") == ["set by a block"]


# Threads that outlive their request


@pytest.mark.conformance("S35")
@pytest.mark.parametrize(
    ("target", "outcome"),
    [
        ("/works_on", "worked"),
        ("/keeps_its_environ", "/keeps_its_environ"),
        ("/writes_late", "RuntimeError"),
        ("/starts_late", "AssertionError|RuntimeError"),
        ("/reads_late", "4|ValueError"),
    ],
)
def test_a_thread_may_outlive_its_request_but_not_touch_the_answer(
    server: Server, board: Board, target: str, outcome: str
) -> None:
    with server.connect() as connection:
        connection.request("POST", target, board.headers, b"body")
        response = connection.response()
        assert (response.status, response.broken) == (200, None)
        assert "started" in response.text
        board.post("go")
        (line,) = board.wait("done")
        assert line in outcome.split("|")
        connection.request("GET", "/hello")
        assert connection.response().text == '"hello"'


@pytest.mark.conformance("S35", "I11")
def test_a_streamed_body_cannot_be_read_after_the_answer(server: Server, board: Board) -> None:
    body = [b"x" * 100_000]
    response = ask(server, "HTTP/1.1", "POST", "/reads_late", board.headers, body)
    assert response.text == '"started"'
    board.post("go")
    assert board.wait("done") == ["ValueError"]


@pytest.mark.conformance("S35", "I12")
def test_what_a_late_thread_says_is_logged_for_its_app(server: Server, board: Board) -> None:
    server.expect_app_log("^complained late$")
    start = len(server.log.read())
    for target in ("/works_on", "/complains_late"):
        assert server.get(target, board.headers).text == '"started"'
    board.post("go")
    board.wait("done", 2)
    for said in ("said by a thread that works on", "complained late"):
        (record,) = wait_for(lambda said=said: server.log.find(f"^{said}$", start), "the record")
        assert record.fields["app"] == "wsgi_threads:app"


# What belongs to the process


@pytest.mark.conformance("S35", "T14")
@pytest.mark.in_process("a worker has its own signals")
def test_signal_handlers_are_not_set_and_the_log_says_so(serve: Serve) -> None:
    server = serve(wsgi("wsgi_threads:app"))
    assert server.get("/takes_signals").text == "true", "the handler is the one from before"
    (record,) = wait_for(lambda: server.log.find(r"signal\.signal\(SIGTERM"), "the warning")
    assert record.level == "warn"
    assert "does nothing" in record.message
    assert "in takes_signals" in record.message, "it shows who did it"
    assert record.fields["app"] == "wsgi_threads:app"
    server.stop()  # By SIGTERM, and in time.


@pytest.mark.conformance("S35")
def test_an_app_runs_on_a_thread_that_threading_knows(server: Server) -> None:
    assert json.loads(server.get("/sees_its_thread").body) == [False, True, True]


@pytest.mark.conformance("S31", "S33")
def test_an_app_whose_threads_are_all_stuck_takes_no_other_along(
    serve: Serve, board: Board
) -> None:
    server = serve(wsgi("wsgi_threads:app", "threads 2"), wsgi("wsgi_threads:app", "threads 3"))
    clients = [server.connect() for _ in range(6)]
    for client in clients:
        client.request("GET", "/per_thread", board.headers)
    board.wait("running", 2)
    other = server.ports[1]
    for _ in range(20):
        assert http1.request(other, "GET", "/hello").text == '"hello"'
    for target in ("/wsgi", "/asgi"):
        assert http1.request(server.canary, "GET", target).status == 200
    board.post("go")
    for client in clients:
        assert client.response().status == 200
        client.close()
