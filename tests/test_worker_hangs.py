"""Workers that give no sign of life: what the log says, and `kill_stuck`."""

from __future__ import annotations

import os
import signal

import pytest

from harness.board import Board
from harness.caddyfile import asgi, wsgi
from harness.plugin import Serve
from harness.server import Server
from harness.waiting import wait_for
from harness.workers import SHARED, WORKERS, await_end, worker

pytestmark = pytest.mark.in_process("its apps have workers, and its canaries none")

SILENT = "^python worker gives no sign of life$"
BUSY = "^python worker finishes no request$"
KILLED = "^python worker is stuck: it is killed"
STUCK = {"wsgi": (wsgi, "stuck:app"), "asgi": (asgi, "stuck:loop")}


def stuck(interface: str, *options: str) -> str:
    block, target = STUCK[interface]
    return block(target, SHARED, "workers 1", *options, folder="workers")


def hang(server: Server, board: Board, target: str, *said: str) -> tuple[int, int]:
    """A request that hangs until its worker is killed: its status and the process."""
    with server.connect() as connection:
        connection.request("GET", target, board.headers)
        (begun,) = board.wait("begun")
        for message in said:
            wait_for(lambda message=message: server.log.find(message), message, 30)
        return connection.response().status, int(begun)


@pytest.mark.not_emulated("no stack comes from a worker that QEMU runs")
@pytest.mark.smoke
@pytest.mark.parametrize("interface", STUCK)
def test_a_worker_whose_c_code_holds_the_gil_is_reported_and_killed(
    serve: Serve, board: Board, interface: str
) -> None:
    block = stuck(interface, "blocked_loop 1s", "kill_stuck 4s")
    server = serve(block, probe="/", slack=WORKERS)
    server.allow_log(".")
    status, pid = hang(server, board, "/holds_the_gil", SILENT, KILLED)
    assert status == 502
    (record,) = server.log.find(SILENT)
    assert record.fields["requests"][0].startswith("GET /holds_the_gil after ")
    assert server.log.find("in act", stream="stderr")  # the stack
    await_end({pid})
    assert server.get("/").status == 200


@pytest.mark.parametrize("options", [("request_timeout 1s",), ("kill_stuck 1s",)])
def test_stacks_are_in_the_log_whatever_limit_is_over_first(
    serve: Serve, board: Board, options: tuple[str, ...]
) -> None:
    server = serve(stuck("wsgi", "blocked_loop off", *options), probe="/", slack=WORKERS)
    server.allow_log(".")
    with server.connect() as connection:
        connection.request("GET", "/holds_the_gil", board.headers)
        (pid,) = board.wait("begun")
        wait_for(lambda: server.log.find("in act", stream="stderr"), "the stack", 30)
        assert server.log.find(SILENT)
        os.kill(int(pid), signal.SIGKILL)
        await_end({int(pid)})


def test_a_stopped_process_is_killed(serve: Serve, board: Board) -> None:
    """It can't write its stacks."""
    server = serve(worker("plain:app", "kill_stuck 1s"), slack=WORKERS)
    server.allow_log(".")
    with server.connect() as connection:
        connection.request("GET", "/waits", board.headers)
        (pid,) = board.wait("begun")
        os.kill(int(pid), signal.SIGSTOP)
        assert connection.response().status == 502
    await_end({int(pid)})
    assert server.log.find(KILLED)


@pytest.mark.parametrize("interface", STUCK)
def test_a_worker_that_hangs_in_python_is_killed(
    serve: Serve, board: Board, interface: str
) -> None:
    """The thread that listens runs, but the loop does not, or no thread is free."""
    block = stuck(interface, "threads 1", "kill_stuck 3s")
    server = serve(block, probe="/", slack=WORKERS)
    server.allow_log(".")
    status, pid = hang(server, board, "/sleeps", KILLED)
    assert status == 502
    (record,) = server.log.find(BUSY)
    assert record.fields["requests"][0].startswith("GET /sleeps after ")
    assert not server.log.find(SILENT)
    await_end({pid})
    assert server.get("/").status == 200


def test_a_worker_with_a_free_thread_is_not_stuck(serve: Serve, board: Board) -> None:
    busy = worker("plain:app", "threads 2", "kill_stuck 1s")
    other = worker("stuck:app", "threads 1", "kill_stuck 4s")
    server = serve(f"handle_path /other/* {{\n{other}\n}}\nhandle {{\n{busy}\n}}", slack=WORKERS)
    server.allow_log(".")
    with server.connect() as connection:
        connection.request("GET", "/waits", board.headers)
        (pid,) = board.wait("begun")
        assert server.get("/other/sleeps").status == 502  # after more than a second
        assert len(server.log.find(KILLED)) == 1
        board.post("go")
        assert connection.response().text == pid
