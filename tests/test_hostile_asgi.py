"""ASGI apps that send while they are read, close what runs, or stop the loop harm no other."""

from __future__ import annotations

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from harness.board import Board
from harness.caddyfile import asgi
from harness.http1 import Connection
from harness.plugin import Serve
from harness.server import Server

RUNS = "ValueError: coroutine already executing"
ENDED = "RuntimeError: cannot reuse already awaited coroutine"


@pytest.fixture(scope="module", params=["asyncio", "uvloop"])
def server(request: pytest.FixtureRequest, serve_module: Serve) -> Server:
    app = asgi("hostile_asgi:app", "lifespan off", f"loop {request.param}")
    return serve_module(app, probe="/hello")


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor() as pool:
        yield pool


# Messages that send others


@pytest.mark.smoke
@pytest.mark.parametrize("times", [1, 20])
@pytest.mark.parametrize(
    "target",
    [
        "/headers_that_answer",
        "/a_pair_that_answers",
        "/a_key_that_answers",
        "/a_type_that_answers",
        "/a_flag_that_answers",
        "/a_body_that_ends",
        "/a_path_that_answers",
        "/links_that_answer",
    ],
)
def test_an_answer_from_within_a_message_is_the_answer(
    server: Server, target: str, times: int
) -> None:
    server.allow_log("RuntimeError")
    for _ in range(times):
        response = server.get(target)
        assert (response.status, response.body, response.broken) == (200, b"inside", None)
        assert not [name for name, _ in response.headers if name.startswith("x-evil")]
        assert server.get("/hello").text == "hello"


def test_a_head_from_within_a_head_is_the_first(server: Server) -> None:
    server.expect_failure("was sent before")
    assert server.get("/headers_that_begin").status == 500


def test_pieces_from_within_a_piece_come_before_it(server: Server) -> None:
    response = server.get("/a_body_that_goes_on")
    assert (response.body, response.broken) == (b"insidebefore", None)


def test_a_message_that_empties_itself_is_a_500(server: Server) -> None:
    server.expect_failure("ValueError")
    assert server.get("/a_message_that_empties_itself").status == 500


def test_trailers_from_within_trailers_are_the_trailers(server: Server) -> None:
    server.allow_log("RuntimeError")
    response = server.get("/trailers_that_end", [("TE", "trailers")])
    assert (response.body, response.broken) == (b"inside", None)


def test_trailers_are_what_they_were_when_they_were_sent(server: Server) -> None:
    response = server.get("/trailers_that_change", [("TE", "trailers")])
    assert (response.body, response.broken) == (b"inside", None)


# The coroutine of a request


@pytest.mark.smoke
def test_a_running_coroutine_refuses_to_be_run_or_closed(server: Server) -> None:
    for _ in range(50):
        errors, running = json.loads(server.get("/closes_itself").body)
        assert errors == [RUNS] * 4
        assert running is True


@pytest.mark.smoke
@pytest.mark.parametrize(
    ("acts", "found", "logged"),
    [
        (
            "/closes_another",
            [None, ENDED, ENDED, False, None],
            "without sending a response",
        ),
        ("/throws_into_another", "StopIteration: ", "planted"),
        ("/throws_nonsense_into_another", ["TypeError"] * 4, "CancelledError"),
    ],
)
def test_the_coroutine_of_another_request_may_be_ended(
    server: Server, board: Board, pool: ThreadPoolExecutor, acts: str, found: object, logged: str
) -> None:
    server.expect_failure(logged)
    waiting = pool.submit(server.get, "/waits", board.headers)
    assert json.loads(server.get(acts, board.headers).body) == found
    assert (waiting.result().status, waiting.result().broken) == (500, None)


def test_a_coroutine_may_swallow_what_is_thrown(
    server: Server, board: Board, pool: ThreadPoolExecutor
) -> None:
    waiting = pool.submit(server.get, "/waits_and_goes_on", board.headers)
    found = json.loads(server.get("/throws_what_is_caught", board.headers).body)
    assert found == "StopIteration: "
    assert waiting.result().text == "went on"


def test_all_tasks_may_be_cancelled(server: Server, board: Board, pool: ThreadPoolExecutor) -> None:
    server.expect_failure("CancelledError", times=2)
    waiting = pool.submit(server.get, "/waits", board.headers)
    board.wait("waits")
    assert server.get("/cancels_all").status == 500
    assert waiting.result().status == 500
    assert server.get("/hello").text == "hello"


# What receive() and send() return


@pytest.mark.smoke
@pytest.mark.conformance("E28")
def test_an_awaitable_is_good_for_one_result(server: Server) -> None:
    first, *others = eval(server.get("/awaits_once_more").text)
    assert first == "ValueError: planted"
    assert others == [ENDED] * 6


@pytest.mark.conformance("E28")
def test_those_who_wait_may_cancel_one_another(server: Server) -> None:
    with server.connect() as connection:
        connection.request("POST", "/many_wait_and_are_cancelled", body=b"x" * 100)
        assert connection.response().body == b"x" * 100


# Threads and the collector


@pytest.mark.smoke
@pytest.mark.conformance("E29")
def test_many_threads_may_send_at_once(server: Server) -> None:
    for _ in range(5):
        response = server.get("/sends_from_many_threads")
        assert (response.body, response.broken) == (b"x" * 800_000, None)


@pytest.mark.smoke
def test_the_collector_may_run_everywhere(server: Server, pool: ThreadPoolExecutor) -> None:
    server.allow_log("Error|never awaited|never retrieved|application failed")
    others = [pool.submit(server.get, "/hello") for _ in range(50)]
    for _ in range(10):
        response = server.get("/collected_all_the_time")
        assert response.status in (200, 500)
        assert response.body in (b"inside", b"outside") or response.status == 500
    assert {other.result().text for other in others} == {"hello"}


# The loop


@pytest.mark.smoke
@pytest.mark.conformance("T11")
@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
@pytest.mark.parametrize("target", ["/stops_the_loop", "/stops_the_loop_in_a_task"])
def test_a_loop_that_is_stopped_goes_on(
    serve: Serve, board: Board, pool: ThreadPoolExecutor, loop: str, target: str
) -> None:
    server = serve(asgi("hostile_asgi:app", "lifespan off", f"loop {loop}"), probe="/hello")
    expected = server.expect_app_log("has stopped its event loop")
    waiting = pool.submit(server.get, "/waits_for_a_note", board.headers)
    board.wait("waits")
    for _ in range(3):
        assert server.get(target).text == "hello"
    board.post("go")
    assert waiting.result().text == "went on", "nothing that ran is lost"
    server.check()
    assert len(expected.records) == 1


@pytest.mark.smoke
@pytest.mark.parametrize("target", ["/closes_the_loop", "/runs_the_loop"])
def test_a_loop_that_runs_can_be_neither_closed_nor_run(server: Server, target: str) -> None:
    server.expect_failure("loop")
    server.allow_log("cannot reuse already awaited")  # sleep()'s, that uvloop made a task of
    assert server.get(target).status == 500
    assert server.get("/hello").text == "hello"


@pytest.mark.smoke
@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
def test_a_loop_cannot_be_closed_between_two_runs(serve: Serve, board: Board, loop: str) -> None:
    server = serve(asgi("hostile_asgi:app", "lifespan off", f"loop {loop}"), probe="/hello")
    server.expect_app_log("has stopped its event loop")
    assert server.get("/closes_the_stopped_loop", board.headers).text == "hello"
    (error,) = board.wait("error", deadline=30)
    assert error.startswith("RuntimeError")
    assert server.get("/hello").text == "hello"


@pytest.mark.in_process("a worker's loop may have files of its own")
@pytest.mark.parametrize(
    ("target", "logged"),
    [("/closes_the_selector", None), ("/closes_the_selectors_file", "has lost its files")],
)
def test_requests_need_no_files_of_the_loop(serve: Serve, target: str, logged: str | None) -> None:
    server = serve(asgi("hostile_asgi:app", "lifespan off", "loop asyncio"), probe="/hello")
    if logged:
        server.expect_app_log(logged)
    assert server.get(target).text == "hello"
    for _ in range(3):
        assert server.get("/hello").text == "hello"


# A client that breaks its body, or leaves

BROKEN = [b"5\r\nhello\r\nnonsense\r\n", b"5\r\nhelloXX", b"fffffffffffffffff\r\n"]


@pytest.mark.smoke
@pytest.mark.conformance("E17", "E32")
@pytest.mark.parametrize("body", BROKEN)
@pytest.mark.parametrize(
    ("target", "status"),
    [
        ("/reads_and_returns", 400),
        ("/reads_and_raises", 400),
        ("/begins_and_returns", 400),
        ("/reads_and_answers", 422),
    ],
)
def test_a_malformed_body_is_the_clients_fault(
    server: Server, target: str, status: int, body: bytes
) -> None:
    with Connection(server.port) as connection:
        connection.request_head("POST", target, body="chunked")
        connection.send(body)
        response = connection.response()
        assert (response.status, response.broken) == (status, None)
        assert response.get("connection") == "close"
        assert connection.is_closed()


@pytest.mark.smoke
@pytest.mark.parametrize("version", [1, 2])
def test_the_end_of_a_delivered_response_raises_nothing(
    server: Server, board: Board, version: int
) -> None:
    """The client has all of the Content-Length, and leaves before the app says that it is all."""
    if version == 1:
        with server.connect() as connection:
            connection.request("GET", "/ends_with_an_empty_body", board.headers)
            assert connection.response().text == "hello"
    else:
        headers = board.headers
        with server.connect2() as connection2:
            number = connection2.start("GET", "/ends_with_an_empty_body", headers)
            connection2.wait(number, lambda stream: len(stream.body) == 5)
    assert board.wait("sent") == ["nothing raised"]
