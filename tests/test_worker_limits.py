"""Workers that are replaced without having failed: `max_requests`, `max_memory`, `max_age`."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.board import Board
from harness.crowd import Crowd
from harness.plugin import Serve
from harness.server import Server
from harness.source import ASGI, WSGI, Source
from harness.waiting import wait_for
from harness.websocket import WebSocket
from harness.workers import WORKERS, await_end, loop_worker, worker, workers

pytestmark = pytest.mark.in_process("its apps have workers, and its canaries none")

REPLACED = "^python worker is replaced$"


def await_replaced(server: Server, count: int) -> None:
    wait_for(lambda: len(server.log.find(REPLACED)) >= count, f"{count} replaced workers", 60)


@pytest.mark.smoke
@pytest.mark.parametrize("template", [WSGI, ASGI], ids=["wsgi", "asgi"])
def test_workers_are_replaced_after_max_requests_and_no_request_is_lost(
    serve: Serve, tmp_path: Path, template: str
) -> None:
    source = Source(tmp_path / "site", template)
    block = source.block("workers 2", "max_requests 100", autoreload=None)
    server = serve(block, slack=WORKERS)
    first = workers(server)
    with Crowd(server, 8) as crowd:
        await_replaced(server, 6)
    assert crowd.failures == []
    assert crowd.reconnects == 0
    counts = [record.fields["requests"] for record in server.log.find(REPLACED)]
    assert all(100 <= count <= 110 for count in counts)
    await_end(first)
    wait_for(lambda: len(workers(server)) == 2, "the replaced workers to end")


def test_a_request_outlives_its_place_in_the_worker(serve: Serve, board: Board) -> None:
    block = worker("plain:app", "max_requests 2")
    server = serve(block, slack=WORKERS)
    with server.connect() as connection:
        connection.request("GET", "/waits", board.headers)
        begun = board.wait("begun")
        server.get("/pid")
        await_replaced(server, 1)
        assert server.get("/pid").text not in begun
        board.post("go")
        assert connection.response().text == begun[0]
    await_end({int(pid) for pid in begun})


def test_a_worker_that_is_too_old_closes_its_websockets_with_1012(
    serve: Serve, board: Board
) -> None:
    server = serve(loop_worker(board, "max_age 2s"), slack=WORKERS)
    (old,) = workers(server)
    with WebSocket(server, "/") as websocket:
        websocket.text("hello")
        assert websocket.receive().payload == f"hello from {old}".encode()
        assert websocket.receive().code == 1012
    (record, *_) = server.log.find(REPLACED)
    assert record.fields["age"] >= 2
    await_end({old})
    assert str(old) in board.wait("stopped")


def test_a_worker_that_has_grown_is_replaced(serve: Serve, board: Board) -> None:
    server = serve(worker("stuck:app", "max_memory 100MiB"), slack=WORKERS)
    (old,) = workers(server)
    assert server.get("/grows").text == str(old)
    await_replaced(server, 1)
    await_end({old})
    assert server.log.find(REPLACED)[0].fields["memory"].endswith("MiB")
    assert server.get("/pid").text != str(old)


def test_a_worker_whose_successor_does_not_start_goes_on(serve: Serve, tmp_path: Path) -> None:
    source = Source(tmp_path / "site", WSGI)
    server = serve(source.block("workers 1", "max_requests 5", autoreload=None), slack=WORKERS)
    failed = "can't be replaced; it goes on"
    server.expect_log(failed, level="error")
    source.main.write_text("1 / 0")
    for _ in range(20):
        assert server.get("/").status == 200
    (record,) = wait_for(lambda: server.log.find(failed), "the failure")
    assert "ZeroDivisionError" in record.text


@pytest.mark.smoke
@pytest.mark.parametrize(
    "option", ["max_requests 1000", "max_memory 1GiB", "max_age 1h", "kill_stuck 1m"]
)
def test_limits_are_for_workers(unstarted: Serve, option: str) -> None:
    said = unstarted(worker("plain:app", option, workers="workers 0")).run_in_vain()
    assert f"{option.split()[0]} is for worker processes: add workers 1" in said
