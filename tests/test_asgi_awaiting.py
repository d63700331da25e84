"""Awaiting in every way that asyncio and anyio know: nothing lost, nothing doubled, on both loops.

Conformance items E28 and E29.
"""

from __future__ import annotations

import json
import sys

import pytest

from harness.board import Board
from harness.caddyfile import asgi
from harness.health import EXECUTORS
from harness.http1 import Connection
from harness.http2 import Connection2
from harness.plugin import Serve
from harness.server import Server
from harness.waiting import wait_for

# asyncio's own timeouts and task groups are of Python 3.11.
NEW = sys.version_info >= (3, 11)

POLLS = [
    "by_wait_for",
    "by_wait_for_a_task",
    *(["by_asyncio_timeout"] if NEW else []),
    "by_move_on_after",
    "by_fail_after",
    "by_a_cancelled_scope",
    "by_a_cancelled_task",
    "by_a_task_group",
]
WAITS = [
    "in_person",
    "as_a_task",
    "as_a_future",
    "in_a_gathering",
    "shielded",
    "in_wait",
    "as_completed",
    *(["in_an_asyncio_group"] if NEW else []),
    "in_an_anyio_group",
    "by_name",
    "after_a_cancelled_one",
    "from_another_thread",
]
PIECES = [bytes([65 + number]) * (number * 1000 + 1) for number in range(5)]


@pytest.fixture(scope="module", params=["asyncio", "uvloop"])
def server(serve_module: Serve, request: pytest.FixtureRequest) -> Server:
    site = asgi("asgi_awaiting:app", "lifespan off", f"loop {request.param}")
    return serve_module(site, probe="/hello", slack=EXECUTORS)


# receive()


@pytest.mark.smoke
@pytest.mark.conformance("E28")
@pytest.mark.parametrize("poll", POLLS)
def test_a_receive_that_is_given_up_loses_nothing(server: Server, board: Board, poll: str) -> None:
    """Each piece comes only after many looks in vain; the end of the client, too."""
    with server.connect() as connection:
        connection.request_head("POST", f"/polls?{poll}", board.headers, body="chunked")
        board.wait("in vain", 1)
        for number, piece in enumerate(PIECES):
            connection.send(b"%x\r\n%b\r\n" % (len(piece), piece))
            if number == 2:
                board.wait("in vain", 2)
        connection.send(b"0\r\n\r\n")
        connection.head()
        received = b""
        for part in connection.chunks():
            received += part
            if len(received) == sum(map(len, PIECES)):
                break
        assert received == b"".join(PIECES)
        assert board.lines("end") == []
    assert board.wait("end") == ["http.disconnect"]


@pytest.mark.conformance("E28")
@pytest.mark.parametrize("poll", ["by_wait_for", "by_a_cancelled_scope", "by_a_cancelled_task"])
def test_a_receive_that_is_given_up_loses_nothing_over_http_2(
    server: Server, board: Board, poll: str
) -> None:
    with server.connect2() as connection:
        headers = board.headers
        number = connection.start("POST", f"/polls?{poll}", headers, end=False)
        board.wait("in vain", 1)
        for piece in PIECES:
            connection.send_data(number, piece)
        board.wait("in vain", 2)
        connection.send_data(number, b"", end=True)
        whole = b"".join(PIECES)
        stream = connection.wait(number, lambda stream: len(stream.body) >= len(whole))
        assert stream.body == whole
        connection.cancel(number)
        assert board.wait("end") == ["http.disconnect"]


@pytest.mark.smoke
@pytest.mark.conformance("E28")
def test_a_message_that_comes_when_the_timeout_is_due_is_not_lost(
    server: Server, board: Board
) -> None:
    with server.connect() as connection:
        connection.request_head("POST", "/too_late", board.headers, body="chunked")
        board.wait("looking")
        connection.send(b"5\r\nhello\r\n0\r\n\r\n")
        board.post("sent")
        assert connection.response().text == "hello"


@pytest.mark.smoke
@pytest.mark.conformance("E28")
@pytest.mark.parametrize("wait", WAITS)
def test_receive_may_be_awaited_in_any_way(server: Server, board: Board, wait: str) -> None:
    with server.connect() as connection:
        connection.request_head("POST", f"/waits?{wait}", board.headers, body="chunked")
        for piece in PIECES:
            connection.send(b"%x\r\n%b\r\n" % (len(piece), piece))
        connection.send(b"0\r\n\r\n")
        connection.head()
        assert read_some(connection, sum(map(len, PIECES))) == b"".join(PIECES)
        board.wait("read")
        assert board.lines("end") == []
    assert board.wait("end") == ["http.disconnect"]


def read_some(connection: Connection, size: int) -> bytes:
    received = b""
    for part in connection.chunks():
        received += part
        if len(received) >= size:
            break
    return received


@pytest.mark.conformance("E03", "E28")
def test_many_may_receive_at_once(server: Server, board: Board) -> None:
    with server.connect() as connection:
        connection.request_head("POST", "/many_wait_at_once", board.headers, body="chunked")
        for number, piece in enumerate(PIECES):
            connection.send(b"%x\r\n%b\r\n" % (len(piece), piece))
            board.wait("pieces", number + 1)
        connection.send(b"0\r\n\r\n")
        connection.head()
        assert read_some(connection, sum(map(len, PIECES))) == b"".join(PIECES)
        assert board.lines("ends") == []
    board.wait("ends", 5)


@pytest.mark.conformance("E28")
@pytest.mark.parametrize("size", [8, 60_000])
@pytest.mark.parametrize(
    "target",
    [
        "/awaited_late",
        "/never_awaited",
        "/cancelled_before_it_ran",
        "/waited_for_no_time",
        "/driven_by_hand",
    ],
)
def test_a_message_is_taken_by_awaiting_and_not_by_calling(
    server: Server, target: str, size: int
) -> None:
    """The whole body is in the first message that somebody takes, and must not get lost."""
    response = server.request("POST", target, body=b"x" * size)
    assert (response.status, response.text) == (200, "x" * size)


@pytest.mark.conformance("E28")
def test_awaiting_twice_is_harmless(server: Server) -> None:
    assert server.request("POST", "/awaited_twice", body=b"x").text in ("[]", "[None, None]")


# send()


@pytest.mark.smoke
@pytest.mark.conformance("E28", "E29")
@pytest.mark.parametrize("version", [1, 2])
def test_send_may_be_awaited_in_any_way_and_from_other_threads(
    server: Server, version: int
) -> None:
    expected = b"one two three four five six seven eight nine ten"
    if version == 1:
        assert server.get("/sends_in_many_ways").body == expected
        return
    with server.connect2() as connection:
        assert connection.request("GET", "/sends_in_many_ways").body == expected


@pytest.mark.conformance("E13", "E29")
def test_direct_calls_from_foreign_threads_do_not_kill_the_server(server: Server) -> None:
    server.allow_log(".")
    for _ in range(2):
        assert server.get("/is_called_from_foreign_threads").status in (200, 500)


# The task


@pytest.mark.smoke
@pytest.mark.conformance("E29")
def test_the_app_runs_in_a_real_task(server: Server) -> None:
    found = json.loads(server.get("/real_task").body)
    assert [what for what, holds in found.items() if not holds] == []


@pytest.mark.conformance("E29")
def test_the_tools_of_asyncio_and_anyio_work(server: Server) -> None:
    assert json.loads(server.get("/asyncio_tools").body) == [
        "lock",
        "queue",
        "event",
        "future",
        "thread",
        "executor",
        "anyio thread",
        "generator closed",
        "stream",
    ]


@pytest.mark.conformance("E28", "E29")
@pytest.mark.parametrize(
    ("target", "text"),
    [
        ("/catches_its_cancellation", "caught"),
        ("/cancels_a_child", "the child was cancelled"),
        ("/a_group_that_fails", "ValueError"),
    ],
)
def test_cancellation_goes_where_it_belongs(server: Server, target: str, text: str) -> None:
    response = server.get(target)
    assert (response.status, response.text) == (200, text)


@pytest.mark.smoke
@pytest.mark.conformance("E04", "E28", "E29")
@pytest.mark.parametrize("how", ["close", "reset", "cancel", "drop"])
def test_a_listener_in_a_group_ends_the_stream_when_the_client_leaves(
    server: Server, board: Board, how: str
) -> None:
    baseline = json.loads(server.get("/tasks").body)
    if how in ("close", "reset"):
        connection = server.connect()
        connection.request("GET", "/listens_and_streams", board.headers)
        board.wait("sent")
        connection.reset() if how == "reset" else connection.close()
        board.wait("closed")
    else:
        leave_over_http_2(server.connect2(), board, how)
    # Whichever of the two hears of it first ends the other.
    wait_for(lambda: json.loads(server.get("/tasks").body) <= baseline, "the tasks to end")


def leave_over_http_2(connection: Connection2, board: Board, how: str) -> None:
    with connection:
        number = connection.start("GET", "/listens_and_streams", board.headers)
        board.wait("sent")
        connection.cancel(number) if how == "cancel" else connection.close()
        board.wait("closed")
