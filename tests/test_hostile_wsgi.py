"""WSGI apps whose values run code while the server reads them get a 500 at most."""

from __future__ import annotations

import json

import pytest

from harness import http1
from harness.board import Board
from harness.caddyfile import wsgi
from harness.http1 import Connection
from harness.plugin import Serve
from harness.server import Server


@pytest.fixture(scope="module")
def server(serve_module: Serve) -> Server:
    return serve_module(wsgi("hostile_wsgi:app", "threads 4"), probe="/hello")


def still_answers(server: Server) -> None:
    """More often than there are threads: each must have come back."""
    for _ in range(6):
        assert server.get("/hello").text == "hello"


@pytest.mark.smoke
@pytest.mark.conformance("S05")
@pytest.mark.parametrize(
    ("target", "logged"),
    [
        ("/none_is_handled", "TypeError"),
        ("/numbers_as_exc_info", "TypeError"),
        ("/too_few_as_exc_info", "TypeError"),
        ("/no_traceback", "TypeError"),
        ("/another_class", "ValueError: planted"),
        ("/class_without_value", "TypeError"),
    ],
)
def test_exc_info_that_is_none_breaks_a_begun_answer(
    server: Server, target: str, logged: str
) -> None:
    server.expect_app_log(logged)
    response = server.get(target)
    assert (response.status, response.body) == (200, b"begun")
    assert response.broken is not None


@pytest.mark.smoke
@pytest.mark.conformance("S05", "S06")
@pytest.mark.parametrize("times", [1, 6])
@pytest.mark.parametrize(
    "target",
    [
        "/writes_after_a_refused_head",
        "/returns_after_a_refused_head",
        "/yields_after_a_refused_head",
        "/returns_a_file_after_a_refused_head",
    ],
)
def test_a_head_that_is_refused_leaves_none(server: Server, target: str, times: int) -> None:
    server.expect_failure("AssertionError", times=times)
    for _ in range(times):
        response = server.get(target)
        assert (response.status, response.broken) == (500, None)
        assert response.get("x-first") is None
    still_answers(server)


@pytest.mark.conformance("S05")
def test_a_refused_head_may_be_set_once_more(server: Server) -> None:
    response = server.get("/starts_again_after_a_refused_head")
    assert (response.status, response.text, response.get("x-first")) == (201, "again", None)


@pytest.mark.smoke
@pytest.mark.parametrize(
    "target",
    ["/a_header_that_answers", "/a_status_that_answers", "/a_length_that_answers"],
)
def test_an_answer_from_within_is_the_answer(server: Server, target: str) -> None:
    server.allow_log("TypeError|more than its Content-Length")
    response = server.get(target)
    assert (response.status, response.body, response.broken) == (200, b"inside", None)
    assert response.get("x-evil") is None


@pytest.mark.parametrize(
    ("target", "logged"),
    [
        ("/a_header_that_starts", "TypeError"),
        ("/a_header_that_clears_the_list", "TypeError"),
        ("/a_block_that_clears_the_list", "TypeError"),
        ("/a_length_that_exits", "SystemExit"),
        ("/a_length_that_starts_again", "AssertionError"),
    ],
)
def test_other_values_that_call_back_are_a_500(server: Server, target: str, logged: str) -> None:
    server.expect_failure(logged)
    response = server.get(target)
    assert (response.status, response.broken) == (500, None)
    assert response.get("x-inner") is None
    still_answers(server)


def test_a_list_is_read_as_a_list_whatever_it_says(server: Server) -> None:
    response = server.get("/a_list_of_another_length")
    assert (response.status, response.text, response.get("x-true")) == (200, "hello", "yes")


def test_a_length_that_lies_cuts_the_answer(server: Server) -> None:
    server.allow_log("Content-Length of 3")
    response = server.get("/a_length_that_lies")
    assert (response.body, response.broken) == (b"one", None)


def test_an_iterator_may_write(server: Server) -> None:
    response = server.get("/an_iterator_that_writes")
    assert (response.body, response.broken) == (b"1234567890", None)


@pytest.mark.smoke
@pytest.mark.parametrize(
    ("target", "error"),
    [
        ("/writes_in_close", "RuntimeError"),
        ("/starts_in_close", "AssertionError"),
        ("/starts_with_exc_info_in_close", "TypeError"),
        ("/writes_when_it_is_freed", "RuntimeError"),
        ("/writes_from_a_thread_after_the_end", "RuntimeError"),
    ],
)
def test_what_comes_after_the_end_is_refused(
    server: Server, board: Board, target: str, error: str
) -> None:
    assert server.get(target, board.headers).text == "hello"
    board.post("over")
    assert board.wait("raised") == [error]


@pytest.mark.smoke
def test_many_threads_may_write_at_once(server: Server) -> None:
    server.allow_log("more than its Content-Length")
    for _ in range(20):
        response = server.get("/writes_from_many_threads")
        assert (response.body, response.broken) == (b"x" * 200_000, None)


def test_many_threads_may_read_at_once(server: Server) -> None:
    for _ in range(5):
        response = server.request("POST", "/reads_from_many_threads", body=b"x" * 2_000_000)
        assert (response.status, json.loads(response.body)) == (200, [])


@pytest.mark.smoke
def test_the_collector_may_run_everywhere(server: Server) -> None:
    server.allow_log("Error|application failed")
    for _ in range(20):
        response = server.get("/collected_all_the_time")
        assert response.status in (200, 500)
        assert response.get("x-1") is None
    still_answers(server)


# A body that its client breaks


def answer_to_a_broken_body(server: Server, target: str, body: bytes) -> http1.Response:
    with Connection(server.port) as connection:
        connection.request_head("POST", target, body="chunked")
        connection.send(body)
        response = connection.response()
        assert connection.is_closed()
    return response


BROKEN = [b"5\r\nhello\r\nnonsense\r\n", b"5\r\nhelloXX", b"fffffffffffffffff\r\n"]


@pytest.mark.smoke
@pytest.mark.conformance("S11", "S26")
@pytest.mark.parametrize("body", BROKEN)
@pytest.mark.parametrize(
    ("target", "status"),
    [
        ("/reads_and_lets_it_out", 400),
        ("/reads_and_answers", 422),
    ],
)
def test_a_malformed_body_is_the_clients_fault(
    server: Server, target: str, status: int, body: bytes
) -> None:
    response = answer_to_a_broken_body(server, target, body)
    assert (response.status, response.broken) == (status, None)
    assert response.get("connection") == "close"


def test_another_error_after_a_malformed_body_is_the_apps(server: Server) -> None:
    server.expect_failure("planted")
    assert answer_to_a_broken_body(server, "/reads_and_fails_otherwise", BROKEN[0]).status == 500


# After the response


@pytest.mark.smoke
@pytest.mark.conformance("S07", "S08")
@pytest.mark.parametrize("target", ["/closes_slowly", "/closes_slowly?streamed"])
def test_a_response_leaves_before_close_is_called(
    server: Server, board: Board, target: str
) -> None:
    response = server.get(target, board.headers)
    assert (response.text, response.broken) == ("hello", None)
    assert board.lines("closed") == []
    board.post("received")
    board.wait("closed")
