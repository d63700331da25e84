"""Caddy's admin endpoint: what it shows of applications, and what it does with them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from harness.admin import app, apps, call, requests, show
from harness.board import Board
from harness.caddyfile import asgi, wsgi
from harness.dynamic import Tenants, ask_tenant, text
from harness.health import LATE_APPS
from harness.plugin import Serve
from harness.server import Server
from harness.settings import APPS, HOME
from harness.source import FAILED, Source, await_reloads
from harness.waiting import wait_for
from harness.websocket import WebSocket
from harness.workers import WORKERS, worker, workers

SLOW = "wsgi_slow:app"


# apps


@pytest.mark.smoke
def test_an_app_is_shown(serve: Serve) -> None:
    server = serve(wsgi("wsgi_response:app"), probe="/hello")
    shown = app(server, "wsgi_response:app")
    assert shown["module"] == "wsgi_response:app"
    assert shown["working_dir"] == str(APPS / "bare")
    assert (shown["state"], shown["interface"]) == ("loaded", "wsgi")
    assert shown["generation"] > 0
    assert 0 < shown["age"] < 600
    assert (shown["requests"], shown["queued"], shown["websockets"]) == (0, 0, 0)
    assert "error" not in shown
    assert ("workers" in shown) == ("memory" in shown) == (HOME == "workers")
    assert len({one["id"] for one in show(server, "apps")}) == 3, "of the canaries as well"


def test_what_runs_in_an_app_is_counted(serve: Serve) -> None:
    server = serve(asgi("websocket_echo:app"))
    with WebSocket(server, "/") as websocket:
        websocket.text("hello")
        assert websocket.receive().payload == b"hello"
        shown = app(server, "websocket_echo:app")
        assert (shown["requests"], shown["websockets"]) == (0, 1)
        (request,) = requests(server, "websocket_echo:app")
        assert (request["method"], request["path"], request["websocket"]) == ("GET", "/", True)
    wait_for(lambda: not app(server, "websocket_echo:app")["websockets"], "its end")


# requests


@pytest.mark.smoke
def test_requests_are_shown_while_they_run_and_wait(serve: Serve, board: Board) -> None:
    server = serve(wsgi(SLOW, "threads 1"), probe="/hello")
    identity = app(server, SLOW)["id"]
    with server.connect() as first, server.connect() as second:
        first.request("GET", "/waits?secret=1", board.headers)
        board.wait("running")
        second.request("POST", "/hello")
        wait_for(lambda: app(server, SLOW)["requests"] == 2, "both")
        if HOME == "process":  # A worker's second request has no place yet.
            wait_for(lambda: len(requests(server, SLOW)) == 2, "both")
        shown = requests(server, SLOW)
        assert shown[0]["seconds"] >= shown[-1]["seconds"] > 0
        assert {request["app"] for request in shown} == {identity}
        assert (shown[0]["method"], shown[0]["path"]) == ("GET", "/waits")
        assert shown[0]["state"] == "running"
        if HOME == "process":
            assert (shown[1]["method"], shown[1]["state"]) == ("POST", "queued")
        assert app(server, SLOW)["queued"] == 1
        board.post("go")
        assert first.response().text == "done"
        assert second.response().text == "hello"
    wait_for(lambda: not requests(server, SLOW), "no requests")


def test_a_request_whose_client_has_got_its_answer_is_left(serve: Serve, board: Board) -> None:
    server = serve(wsgi(SLOW, "request_timeout 1s"), probe="/hello")
    server.expect_log("did not respond within its request_timeout")
    server.allow_log("request timed out")
    assert server.get("/blocks_outside_python", board.headers).status == 504
    (request,) = requests(server, SLOW)
    assert (request["path"], request["state"]) == ("/blocks_outside_python", "left")
    wait_for(lambda: server.log.find("^request timed out after 1 s"), "the record")
    with (board.folder / "pipe").open("wb"):
        pass
    wait_for(lambda: not requests(server, SLOW), "no requests")


# reload


@pytest.mark.smoke
def test_an_app_is_reloaded_without_autoreload(serve: Serve, tmp_path: Path) -> None:
    source = Source(tmp_path / "site")
    server = serve(source.block(autoreload=None))
    before = app(server, "edited:app")
    source.write("2")
    assert server.get("/").text == "1"
    response = call(server, "POST", f"apps/{before['id']}/reload")
    assert response.status == 200, response.text
    assert server.get("/").text == "2"
    after = app(server, "edited:app")
    assert after["id"] == before["id"]
    assert after["generation"] > before["generation"]
    assert after["age"] < before["age"] + 60


@pytest.mark.smoke
def test_a_failed_reload_keeps_the_code_and_is_shown(serve: Serve, tmp_path: Path) -> None:
    source = Source(tmp_path / "site")
    server = serve(source.block(autoreload=None))
    identity = app(server, "edited:app")["id"]
    source.main.write_text("1 / 0")
    server.expect_log(FAILED)
    server.expect_log("request error", logger="admin.api")
    response = call(server, "POST", f"apps/{identity}/reload")
    assert response.status == 500
    assert "ZeroDivisionError" in response.text
    assert server.get("/").text == "1"
    shown = app(server, "edited:app")
    assert shown["state"] == "loaded"
    assert "ZeroDivisionError" in shown["error"]["text"]
    assert "Traceback" in shown["error"]["text"]
    source.write("2")
    assert call(server, "POST", f"apps/{identity}/reload").status == 200
    assert "error" not in app(server, "edited:app")
    assert server.get("/").text == "2"


def test_a_failed_autoreload_is_shown(serve: Serve, tmp_path: Path) -> None:
    source = Source(tmp_path / "site")
    server = serve(source.block())
    server.expect_log(FAILED)
    source.main.write_text("1 / 0")
    await_reloads(server, 1, FAILED)
    shown = wait_for(
        lambda: [one for one in apps(server, "edited:app") if one["state"] == "failed"], "it"
    )
    assert "ZeroDivisionError" in shown[0]["error"]["text"]
    source.write("2")
    await_reloads(server, 1)


def test_a_request_outlives_a_reload(serve: Serve, board: Board) -> None:
    server = serve(wsgi(SLOW), probe="/hello")
    identity = app(server, SLOW)["id"]
    with server.connect() as connection:
        connection.request("GET", "/waits", board.headers)
        board.wait("running")
        assert call(server, "POST", f"apps/{identity}/reload").status == 200
        assert app(server, SLOW)["retiring"] == 1
        assert app(server, SLOW)["requests"] == 1
        board.post("go")
        assert connection.response().text == "done"
    wait_for(lambda: "retiring" not in app(server, SLOW), "the end of the old code", 20)


# unload


@pytest.mark.smoke
def test_tenants_are_unloaded_and_their_next_request_loads_them(
    serve: Serve, tmp_path: Path, board: Board
) -> None:
    tenants = Tenants(tmp_path / "sites", board, "wsgi", "one", "two")
    server = serve(tenants.block(), slack=LATE_APPS)
    first = text(server, "one", "/id")
    other = text(server, "two", "/id")
    by_folder = {Path(one["working_dir"]).name: one for one in apps(server, "main:app")}
    assert set(by_folder) == {"one", "two"}
    response = call(server, "POST", f"apps/{by_folder['one']['id']}/unload")
    assert (response.status, response.body) == (204, b"")
    wait_for(lambda: len(apps(server, "main:app")) == 1, "the end of one")
    assert text(server, "two", "/id") == other
    assert text(server, "one", "/id") != first
    assert call(server, "POST", f"apps/{by_folder['two']['id']}/reload").status == 200
    assert text(server, "two", "/id") != other


def test_a_tenant_that_has_failed_is_loaded_at_once_when_it_is_mended(
    serve: Serve, tmp_path: Path, board: Board
) -> None:
    tenants = Tenants(tmp_path / "sites", board, "wsgi")
    tenants.add_broken("broken", "import missing_so_far")
    server = serve(tenants.block(), slack=LATE_APPS)
    server.expect_log("missing_so_far")
    server.expect_log("could not be loaded")
    assert ask_tenant(server, "broken").status == 500
    shown = app(server, "main:app")
    assert shown["state"] == "failed"
    assert "missing_so_far" in shown["error"]["text"]
    (tmp_path / "sites" / "broken" / "missing_so_far.py").write_text(
        "import builtins\ndef app(environ, start_response):\n"
        "    start_response('200 OK', [])\n    return [b'mended']\n"
    )
    (tmp_path / "sites" / "broken" / "main.py").write_text("from missing_so_far import app\n")
    assert call(server, "POST", f"apps/{shown['id']}/reload").status == 200
    assert ask_tenant(server, "broken").text == "mended"


def test_other_apps_are_not_unloaded(serve: Serve) -> None:
    server = serve(wsgi("wsgi_response:app"), probe="/hello")
    identity = app(server, "wsgi_response:app")["id"]
    server.expect_log("request error", logger="admin.api")
    response = call(server, "POST", f"apps/{identity}/unload")
    assert response.status == 409
    assert "blocks with placeholders" in response.text


def test_unknown_ids_and_other_methods_are_refused(serve: Serve) -> None:
    server = serve(wsgi("wsgi_response:app"), probe="/hello")
    for action in ("reload", "unload"):
        server.expect_log("request error", logger="admin.api")
        assert call(server, "POST", f"apps/unknown/{action}").status == 404
        assert call(server, "GET", f"apps/unknown/{action}").status in (404, 405)
        server.check()
    assert call(server, "POST", "apps").status in (404, 405)


# workers


@pytest.mark.in_process("its apps have workers, and its canaries none")
@pytest.mark.smoke
def test_workers_are_shown(serve: Serve, board: Board) -> None:
    server = serve(worker("plain:app", workers="workers 2"), slack=WORKERS)
    identity = app(server, "plain:app")["id"]
    shown = show(server, "workers")
    assert [one["worker"] for one in shown] == [1, 2]
    assert {one["pid"] for one in shown} == workers(server)
    assert {(one["app"], one["state"]) for one in shown} == {(identity, "ready")}
    assert all(one["memory"] > 2 << 20 for one in shown)
    assert app(server, "plain:app")["memory"] > 4 << 20
    with server.connect() as connection:
        connection.request("GET", "/waits", board.headers)
        (pid,) = board.wait("begun")
        busy = [one for one in show(server, "workers") if one["requests"]]
        assert [one["pid"] for one in busy] == [int(pid)]
        (request,) = requests(server, "plain:app")
        assert request["worker"] == busy[0]["worker"]
        board.post("go")
        assert connection.response().status == 200
    assert sum(one["total_requests"] for one in show(server, "workers")) == 1


def test_apps_without_workers_show_none(serve: Serve) -> None:
    server = serve(wsgi("wsgi_response:app", "workers 0"), probe="/hello", canary=False)
    assert show(server, "workers") == []


# stacks


def stacks(server: Server, name: str) -> list[dict[str, Any]]:
    return [stack for stack in show(server, "stacks") if stack["name"] == name]


@pytest.mark.smoke
def test_the_stacks_of_wsgi_requests_are_shown(serve: Serve, board: Board) -> None:
    server = serve(wsgi(SLOW), probe="/hello")
    with server.connect() as connection:
        connection.request("GET", "/waits", board.headers)
        board.wait("running")
        (stack,) = stacks(server, SLOW)
        assert (stack["method"], stack["path"], stack["state"]) == ("GET", "/waits", "running")
        assert stack["thread"].startswith("wsgi-")
        assert "in wait_in_python\n    board.wait(" in stack["stack"]
        assert ("worker" in stack) == (HOME == "workers")
        board.post("go")
        assert connection.response().text == "done"
    wait_for(lambda: not stacks(server, SLOW), "no stacks")


@pytest.mark.smoke
@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
def test_the_stacks_of_coroutines_are_shown(serve: Serve, board: Board, loop: str) -> None:
    """One that waits, and then another that blocks the loop."""
    name = "asgi_extensions:app"
    server = serve(asgi(name, "lifespan off", f"loop {loop}"), probe="/hello")
    with server.connect() as first, server.connect() as second:
        first.request("GET", "/waits", board.headers)
        board.wait("waiting")
        (waiting,) = wait_for(
            lambda: [stack for stack in stacks(server, name) if "thread" not in stack], "it to wait"
        )
        assert (waiting["path"], waiting["state"]) == ("/waits", "running")
        assert "in waits\n    await until_it_leaves(receive)" in waiting["stack"]
        assert "in until_it_leaves\n" in waiting["stack"]
        second.request("GET", "/blocks", board.headers)
        board.wait("blocking")
        by_path = {stack["path"]: stack for stack in stacks(server, name)}
        assert set(by_path) == {"/waits", "/blocks"}
        assert by_path["/blocks"]["thread"]
        assert "in blocks\n" in by_path["/blocks"]["stack"]
        board.post("reported")
        assert second.response().text == "late"


@pytest.mark.in_process("its apps have workers, and its canaries none")
def test_a_worker_that_does_not_answer_says_so(serve: Serve, board: Board) -> None:
    """C code holds its lock; the others show their stacks."""
    server = serve(worker("stuck:app", "kill_stuck 8s"), probe="/", slack=WORKERS)
    server.allow_log(".")
    with server.connect() as connection:
        connection.request("GET", "/holds_the_gil", board.headers)
        board.wait("begun")
        (stack,) = stacks(server, "stuck:app")
        assert "Python's lock is not free" in stack["error"]
        assert stack["worker"] == 1
        assert connection.response().status == 502
