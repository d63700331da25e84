"""`python_ready`: 200 while the applications can take requests, else 503 with the reasons."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from harness.board import Board
from harness.caddyfile import asgi, wsgi
from harness.dynamic import Tenants, ask_tenant, text
from harness.health import LATE_APPS
from harness.plugin import Serve
from harness.server import Server
from harness.source import FAILED, Source, await_reloads
from harness.waiting import wait_for
from harness.workers import WORKERS, worker

SLOW = "wsgi_slow:app"


def site(block: str, ready: str = "python_ready /ready") -> str:
    return f"{ready}\n{block}"


def reasons(server: Server) -> list[dict[str, str]]:
    """Why it is not ready; none: it is."""
    answer = server.get("/ready")
    said: dict[str, Any] = json.loads(answer.body)
    assert answer.get("content-type") == "application/json"
    assert answer.get("cache-control") == "no-store"
    assert said["ready"] == (not said["reasons"]) == (answer.status == 200)
    assert answer.status in (200, 503)
    found: list[dict[str, str]] = said["reasons"]
    return found


def reason(server: Server, app: str) -> str:
    """The only one, which is the app's."""
    (found,) = wait_for(lambda: reasons(server), "a reason", 30)
    assert found["app"] == app
    return found["reason"]


@pytest.mark.smoke
@pytest.mark.parametrize("named", ["", "wsgi_response:app"])
def test_a_server_whose_apps_are_loaded_is_ready(serve: Serve, named: str) -> None:
    server = serve(site(wsgi("wsgi_response:app"), f"python_ready /ready {named}"))
    assert reasons(server) == []
    assert server.request("HEAD", "/ready").status == 200


def test_an_unknown_name_is_not_ready(serve: Serve) -> None:
    server = serve(site(wsgi("wsgi_response:app"), "python_ready /ready wsgi_response:other"))
    assert reason(server, "wsgi_response:other") == "no application of this name is loaded"


@pytest.mark.smoke
def test_a_queue_above_the_limit_is_not_ready(serve: Serve, board: Board) -> None:
    ready = "python_ready /ready {\nmax_queue 1\n}"
    server = serve(site(wsgi(SLOW, "threads 1"), ready), probe="/hello")
    connections = [server.connect() for _ in range(3)]
    for number, connection in enumerate(connections):
        connection.request("GET", "/waits", board.headers)
        if number == 0:
            board.wait("running")
            assert reasons(server) == []
    assert reason(server, SLOW) == "2 requests wait, more than 1 (max_queue)"
    board.post("go")
    for connection in connections:
        assert connection.response().text == "done"
        connection.close()
    assert reasons(server) == []


@pytest.mark.smoke
def test_a_blocked_loop_is_not_ready(serve: Serve, board: Board) -> None:
    name = "asgi_extensions:app"
    server = serve(site(asgi(name, "lifespan off", "blocked_loop 1s")), probe="/hello")
    with server.connect() as connection:
        connection.request("GET", "/blocks", board.headers)
        board.wait("blocking")
        assert reason(server, name).startswith("its event loop has been blocked for 1")
        board.post("reported")
        assert connection.response().text == "late"
    wait_for(lambda: not reasons(server), "a sign of life")


def test_code_that_could_not_be_reloaded_is_not_ready(serve: Serve, tmp_path: Path) -> None:
    source = Source(tmp_path / "site")
    server = serve(site(source.block()))
    assert reasons(server) == []
    server.expect_log(FAILED)
    source.main.write_text("1 / 0")
    await_reloads(server, 1, FAILED)
    assert reason(server, "edited:app") == "its changed code could not be loaded"
    source.write("2")
    await_reloads(server, 1)
    assert reasons(server) == []


def test_a_tenant_that_does_not_load_takes_no_server_out(
    serve: Serve, tmp_path: Path, board: Board
) -> None:
    tenants = Tenants(tmp_path / "sites", board, "wsgi", "one")
    tenants.add_broken("broken", "1 / 0")
    ready = "python_ready /ready main:app"
    server = serve(site(tenants.block(), ready), slack=LATE_APPS)
    assert text(server, "one") == "one"
    server.expect_log("ZeroDivisionError")
    server.expect_log("could not be loaded")
    assert ask_tenant(server, "broken").status == 500
    assert reasons(server) == []


@pytest.mark.in_process("its apps have workers, and its canaries none")
def test_an_app_without_workers_is_not_ready(serve: Serve) -> None:
    """A worker that keeps ending is started again after pauses."""
    server = serve(site(worker("deadly:app")), slack=WORKERS)
    server.allow_log(".")
    assert reasons(server) == []

    def is_unready() -> bool:
        server.get("/exits")
        return bool(reasons(server))

    wait_for(is_unready, "a pause", 60)
    wait_for(lambda: not reasons(server), "the end of the pause", 30)


@pytest.mark.smoke
def test_a_server_that_is_shutting_down_is_not_ready(serve: Serve) -> None:
    server = serve(site(wsgi("wsgi_response:app")), options=["shutdown_delay 3s"])
    assert reasons(server) == []
    assert server.process is not None
    server.process.terminate()
    (found,) = wait_for(lambda: reasons(server), "the shutdown")
    assert found == {"reason": "the server is shutting down"}
    assert server.get("/hello").status == 200, "it still serves"
    server.process.wait(20)
    server.process = None


@pytest.mark.parametrize(
    ("block", "said"),
    [
        ("python_ready /ready {\nmax_queue 0\n}", "max_queue must be a number from 1, not '0'"),
        ("python_ready /ready {\nqueue 1\n}", "unknown option 'queue' of python_ready"),
    ],
)
def test_mistakes_are_named(unstarted: Serve, block: str, said: str) -> None:
    assert said in unstarted(block).run_in_vain()
