"""Requests that take long: `request_timeout` ends them, `slow_request` tells of them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from harness import http1
from harness.board import Board
from harness.caddyfile import wsgi
from harness.log import Record
from harness.plugin import Serve
from harness.server import Server
from harness.waiting import wait_for
from harness.ways import EVERY_WAY, ask

TIMED_OUT = r"^request timed out after 1 s; it was here:"
NO_ANSWER = "did not respond within its request_timeout"
SLOW = "^request has been running for"

APP = wsgi("wsgi_slow:app", "request_timeout 1s")


@pytest.fixture(scope="module")
def server(serve_module: Serve) -> Server:
    return serve_module(APP, APP, tls=True, probe="/hello")


def expect_timeout(server: Server, times: int = 1) -> None:
    """Caddy's record of the 504, and the plugin's, which shows where the app was."""
    server.expect_log(NO_ANSWER, times=times)
    server.expect_app_log(TIMED_OUT, times)


# request_timeout


@pytest.mark.conformance("S31")
@pytest.mark.parametrize("way", EVERY_WAY)
@pytest.mark.parametrize("target", ["/waits", "/starts_and_waits"])
def test_an_app_that_does_not_answer_in_time_is_a_504_and_is_ended(
    server: Server, board: Board, way: str, target: str
) -> None:
    expect_timeout(server)
    response = ask(server, way, "GET", target, board.headers)
    assert (response.status, response.broken) == (504, None)
    server.check()
    if target == "/waits":
        board.wait("ended")
        assert board.lines("went on") == []


@pytest.mark.conformance("S31")
def test_the_log_shows_where_the_app_was(server: Server, board: Board) -> None:
    server.expect_log(NO_ANSWER)
    expected = server.expect_app_log(TIMED_OUT)
    assert ask(server, "HTTP/1.1", "GET", "/waits", board.headers).status == 504
    server.check()
    (record,) = expected.records
    assert "in wait_in_python" in record.message
    assert "in waits" in record.message
    assert record.fields["app"] == "wsgi_slow:app"


@pytest.mark.conformance("S31")
def test_a_timeout_frees_the_apps_only_thread(serve: Serve, board: Board) -> None:
    server = serve(wsgi("wsgi_slow:app", "request_timeout 1s", "threads 1"), probe="/hello")
    expect_timeout(server)
    assert server.get("/waits", board.headers).status == 504
    board.wait("ended")
    assert server.get("/hello").text == "hello"


@pytest.mark.conformance("S31")
def test_a_request_that_waits_too_long_for_a_thread_is_a_504_and_never_run(
    serve: Serve, board: Board
) -> None:
    server = serve(wsgi("wsgi_slow:app", "request_timeout 1s", "threads 1"))
    server.expect_log(NO_ANSWER, times=2)
    server.expect_app_log(TIMED_OUT, 1)
    with server.connect() as first:
        first.request("GET", "/blocks_outside_python", board.headers)
        board.wait("running")
        assert server.get("/waits", board.headers).status == 504
        assert first.response().status == 504
        wait_for(lambda: server.log.find(TIMED_OUT), "the record")
        release(board)
    assert server.get("/hello").text == "hello"
    assert board.lines("running") == [""]


def release(board: Board) -> None:
    """Lets go of an app that blocks outside Python."""
    with (board.folder / "pipe").open("wb"):
        pass
    board.wait("ended")


@pytest.mark.conformance("S31")
def test_an_app_that_blocks_outside_python_is_a_504_at_once_and_ended_later(
    serve: Serve, board: Board
) -> None:
    server = serve(APP)
    expect_timeout(server)
    assert server.get("/blocks_outside_python", board.headers).status == 504
    assert server.get("/hello").text == "hello"
    (record,) = wait_for(lambda: server.log.find(TIMED_OUT), "the record")
    assert "in blocks_outside_python" in record.message
    assert board.lines("ended") == []
    release(board)


@pytest.mark.conformance("S31", "S33")
def test_what_an_app_answers_after_its_timeout_goes_nowhere(server: Server, board: Board) -> None:
    expect_timeout(server)
    with server.connect() as connection:
        connection.request("GET", "/will_not_be_told", board.headers)
        assert connection.response().status == 504
        (caught,) = board.wait("caught")
        assert caught == "RequestTimeout"
        connection.request("GET", "/hello")
        assert connection.response().text == "hello"


@pytest.mark.conformance("S09", "S11")
@pytest.mark.parametrize("way", EVERY_WAY)
def test_a_response_that_has_begun_is_broken_off(server: Server, board: Board, way: str) -> None:
    server.expect_app_log(TIMED_OUT)
    response = ask(server, way, "GET", "/streams_and_waits", board.headers)
    assert (response.status, response.body) == (200, b"begun")
    assert response.broken is not None
    assert board.wait("closed") == [""]


@pytest.mark.conformance("I09")
def test_an_upload_that_does_not_come_in_time_is_a_504(server: Server, board: Board) -> None:
    server.expect_log(NO_ANSWER)
    server.allow_log(TIMED_OUT)  # If the app has not ended by itself when the watch comes by.
    with http1.Connection(server.ports[1]) as connection:
        connection.request_head("POST", "/reads", board.headers, length=1_000_000)
        connection.send(b"only a part")
        assert connection.response().status == 504
        board.wait("ended")
        assert connection.is_closed()


@pytest.mark.conformance("M08")
def test_error_routes_shape_the_504(serve: Serve, board: Board) -> None:
    routes = 'handle_errors {\n respond "sorry: {err.status_code}" {err.status_code}\n}'
    server = serve(f"{APP}\n{routes}")
    server.allow_log(NO_ANSWER)
    server.expect_app_log(TIMED_OUT)
    response = server.get("/waits", board.headers)
    assert (response.status, response.text) == (504, "sorry: 504")


@pytest.mark.conformance("S12", "S31")
def test_a_client_that_leaves_before_the_timeout_is_no_timeout(serve: Serve, board: Board) -> None:
    server = serve(wsgi("wsgi_slow:app", "request_timeout 30s"))
    with server.connect2() as connection:
        number = connection.start("GET", "/waits", board.headers)
        board.wait("running")
        connection.cancel(number)
    board.post("go")
    board.wait("ended")
    assert board.lines("went on") == []


@pytest.mark.conformance("S31", "S33")
def test_a_timeout_hits_no_other_request(server: Server) -> None:
    """Naps around the timeout, again and again on the same threads, with short ones between."""
    server.allow_log(f"{NO_ANSWER}|{TIMED_OUT}")
    clients = [http1.Connection(server.ports[1]) for _ in range(10)]
    for number in range(10):
        for client in clients:
            client.request("GET", f"/naps?{0.95 + number / 100}")
        for client in clients:
            assert client.response().status in (200, 504)
            client.request("GET", "/naps?0")
        for client in clients:
            response = client.response()
            assert (response.status, response.text) == (200, "rested")
    for client in clients:
        client.close()


# slow_request


def slow_records(server: Server) -> list[Record]:
    return server.log.find(SLOW)


def told_of(server: Server, count: int) -> list[Record]:
    return wait_for(
        lambda: len(slow_records(server)) >= count and slow_records(server),
        lambda: f"{count} record(s) of slow requests; there are {len(slow_records(server))}",
    )


@pytest.fixture
def waiting() -> Iterator[list[http1.Connection]]:
    """Clients whose requests run; they leave in the end."""
    clients: list[http1.Connection] = []
    yield clients
    for client in clients:
        client.close()


@pytest.mark.conformance("S31")
def test_a_slow_request_is_told_of_once_with_its_stack(
    serve: Serve, board: Board, waiting: list[http1.Connection], tmp_path: Path
) -> None:
    server = serve(wsgi("wsgi_slow:app", "slow_request 100ms"), probe="/hello")

    def begin(count: int) -> None:
        waiting.append(server.connect())
        waiting[-1].request("GET", "/waits", board.headers)
        board.wait("running", count)

    begin(1)
    (record,) = told_of(server, 1)
    assert record.level == "warn"
    assert "in wait_in_python" in record.message
    assert "in waits" in record.message
    assert "caddysnake_py" not in record.message
    assert record.fields["app"] == "wsgi_slow:app"
    # The second one shows that the watch has come by again.
    begin(2)
    assert len(told_of(server, 2)) == 2
    board.post("go")
    for client in waiting:
        assert client.response().text == "done"
    assert len(slow_records(server)) == 2


@pytest.mark.conformance("S31")
def test_slow_requests_are_told_of_only_where_that_is_wanted(
    serve: Serve, board: Board, waiting: list[http1.Connection]
) -> None:
    server = serve(
        wsgi("wsgi_slow:app", "slow_request off"),
        wsgi("wsgi_slow:app", "slow_request 1h"),
        wsgi("wsgi_slow:app"),
        wsgi("wsgi_slow:app", "slow_request 100ms"),
    )
    for count, port in enumerate(server.ports):
        waiting.append(http1.Connection(port))
        waiting[-1].request("GET", "/waits", board.headers)
        board.wait("running", count + 1)
    # The last of them is the youngest: when it is told of, the watch has seen the others too.
    told_of(server, 1)
    board.post("go")
    for client in waiting:
        assert client.response().text == "done"
    assert len(slow_records(server)) == 1


@pytest.mark.conformance("S31")
def test_a_slow_request_that_blocks_outside_python_is_told_of(
    serve: Serve, board: Board, waiting: list[http1.Connection]
) -> None:
    server = serve(wsgi("wsgi_slow:app", "slow_request 100ms"))
    waiting.append(server.connect())
    waiting[0].request("GET", "/blocks_outside_python", board.headers)
    board.wait("running")
    (record,) = told_of(server, 1)
    assert "in blocks_outside_python" in record.message
    release(board)
    assert waiting[0].response().text == "done"


@pytest.mark.conformance("S31")
def test_fast_requests_are_not_told_of(
    serve: Serve, board: Board, waiting: list[http1.Connection]
) -> None:
    slow, fast = "slow_request 1s", "slow_request 1s\nenv_var FAST yes"
    server = serve(wsgi("wsgi_slow:app", slow), wsgi("wsgi_slow:app", fast))
    # Slow requests, one after the other, show that the watch comes by.
    for count in range(1, 4):
        waiting.append(server.connect())
        waiting[-1].request("GET", "/waits", board.headers)
        with http1.Connection(server.ports[1]) as connection:
            while len(slow_records(server)) < count:
                connection.request("GET", "/hello")
                assert connection.response().text == "hello"
    assert len(slow_records(server)) == 3
    board.post("go")
    for client in waiting:
        assert client.response().text == "done"
