"""Stops, reloads and crashes while a worker is being replaced."""

from __future__ import annotations

import os
import signal

import pytest

from harness.board import Board
from harness.caddyfile import BRIEF_GRACE
from harness.plugin import Serve
from harness.server import Server
from harness.waiting import wait_for
from harness.workers import WORKERS, await_end, is_alive, loop_worker, worker, workers

pytestmark = pytest.mark.in_process("its apps have workers, and its canaries none")

REPLACED = "^python worker is replaced$"


def await_successor(server: Server, old: str) -> str:
    """Waits until a successor answers, while the old worker still has a request."""
    wait_for(lambda: server.log.find(REPLACED), "the replacement", 30)
    successor = server.get("/pid").text
    assert successor != old
    assert is_alive(int(old))
    return successor


def begin_stop(server: Server) -> None:
    os.kill(server.pid, signal.SIGTERM)
    wait_for(lambda: server.log.find("shutting down"), "the stop to begin")


def test_a_reload_waits_for_the_requests_of_replaced_workers(serve: Serve, board: Board) -> None:
    server = serve(worker("plain:app", "max_requests 1"), slack=WORKERS)
    with server.connect() as connection:
        connection.request("GET", "/waits", board.headers)
        (old,) = board.wait("begun")
        successor = await_successor(server, old)
        server.reload(worker("plain:app", "threads 3"))
        wait_for(lambda: not is_alive(int(successor)), "the end of the idle workers", 20)
        board.post("go")
        assert connection.response().text == old
    await_end({int(old)})
    assert server.get("/pid").status == 200


def test_a_stop_waits_for_the_requests_of_replaced_workers(serve: Serve, board: Board) -> None:
    server = serve(worker("plain:app", "max_requests 1"), slack=WORKERS)
    with server.connect() as connection:
        connection.request("GET", "/waits", board.headers)
        (old,) = board.wait("begun")
        await_successor(server, old)
        begin_stop(server)
        board.post("go")
        assert connection.response().text == old
    server.stop()
    await_end({int(old)})


def test_a_task_of_a_replaced_worker_ends_before_the_server(serve: Serve, board: Board) -> None:
    server = serve(loop_worker(board, "max_requests 1"), slack=WORKERS)
    old = server.get("/task").text
    board.wait("begun")
    await_successor(server, old)
    begin_stop(server)
    board.post("go")
    server.stop()
    assert board.lines("task ended") == [old]
    assert old in board.lines("stopped")


def test_a_task_of_a_replaced_worker_has_the_grace_period_only(serve: Serve, board: Board) -> None:
    server = serve(loop_worker(board, "max_requests 1"), options=[BRIEF_GRACE], slack=WORKERS)
    server.expect_log("does not shut down: it gets SIGTERM", level="warn")
    old = server.get("/task").text
    board.wait("begun")
    await_successor(server, old)
    server.stop()
    assert not is_alive(int(old))


def test_a_replaced_worker_that_dies_is_not_started_again(serve: Serve, board: Board) -> None:
    server = serve(worker("plain:app", "max_requests 1000"), slack=WORKERS)
    server.allow_log("ended unexpectedly|are lost|has ended$|python application failed")
    server.reload(worker("plain:app", "max_requests 1"))
    with server.connect() as connection:
        connection.request("GET", "/waits", board.headers)
        (old,) = board.wait("begun")
        await_successor(server, old)
        os.kill(int(old), signal.SIGKILL)
        assert connection.response().status == 502
    await_end({int(old)})
    wait_for(lambda: len(workers(server)) == 1, "one worker")


def test_a_worker_that_dies_during_its_replacement_has_one_successor(
    serve: Serve, board: Board
) -> None:
    notes = f"env_var NOTES {board.folder}"
    server = serve(worker("slow:app", "max_requests 2", notes), slack=WORKERS)
    server.expect_log("ended unexpectedly")
    (old,) = board.wait("loading")
    board.post("hold")
    assert [server.get("/").text for _ in range(2)] == [old, old]
    board.wait("loading", 2)  # the replacement
    os.kill(int(old), signal.SIGKILL)
    board.wait("loading", 3)  # what follows a death
    board.post("go")
    assert server.get("/").text in board.lines("loading")[1:]
    wait_for(lambda: len(workers(server)) == 1, "one worker", 20)
