"""What an ASGI application does after its response, when the server stops."""

from __future__ import annotations

import time

import pytest

from harness.board import Board
from harness.caddyfile import asgi
from harness.plugin import Serve

pytestmark = pytest.mark.conformance("T11")


@pytest.mark.smoke
@pytest.mark.parametrize("period", ["30s", "0s"])
def test_a_task_after_its_response_has_the_grace_period(
    serve: Serve, board: Board, period: str
) -> None:
    """0 is no limit, as for requests. Six seconds are longer than what has no client is given."""
    server = serve(asgi("background_tasks:app", "lifespan off"), options=[f"grace_period {period}"])
    assert server.get("/?6", board.headers).text == "hello"
    began = time.monotonic()
    server.stop()
    assert board.lines("ended") == ["done"]
    assert time.monotonic() - began < 15


def test_a_task_that_is_cut_is_named(serve: Serve, board: Board) -> None:
    server = serve(asgi("background_tasks:app", "lifespan off"))
    pattern = "^tasks that ran after their responses are cancelled: GET /cut$"
    server.expect_log(pattern, level="warn", times=1)
    assert server.get("/cut?60", board.headers).text == "hello"
    server.stop()
    assert board.lines("ended") == ["CancelledError"]


@pytest.mark.smoke
def test_what_has_not_answered_is_not_waited_for(serve: Serve, board: Board) -> None:
    """Its client is gone, so nothing holds the server up for its sake."""
    server = serve(asgi("background_tasks:app", "lifespan off"))
    with server.connect2() as connection:
        number = connection.start("GET", "/unanswered", board.headers)
        board.wait("waits")
        connection.cancel(number)
    began = time.monotonic()
    server.stop()
    assert board.lines("ended") == ["CancelledError"]
    assert time.monotonic() - began < 15
