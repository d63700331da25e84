"""Profiles: `GET /python/profile` of the admin endpoint, and the command `profile`."""

from __future__ import annotations

import json
import os
import signal
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from harness import speedscope
from harness.admin import app, call
from harness.board import Board
from harness.caddyfile import asgi, wsgi
from harness.health import Slack
from harness.plugin import Serve
from harness.ports import HOST
from harness.server import Server
from harness.waiting import wait_for
from harness.workers import WORKERS, workers

WSGI, OTHER, ASGI = "busy:app", "busy:other", "busy:asgi"


def profile(server: Server, query: str = "") -> Any:
    response = call(server, "GET", f"profile?{query}")
    assert response.status == 200, response.text
    assert response.get("content-type") == "application/json"
    document = json.loads(response.body)
    speedscope.check(document)
    return document


@contextmanager
def at_work(server: Server, board: Board, *paths: str) -> Iterator[None]:
    """Requests that are at work until the block ends."""
    connections = [server.connect() for _ in paths]
    try:
        for connection, path in zip(connections, paths, strict=True):
            connection.request("GET", path, board.headers)
        board.wait("busy", len(paths))
        yield
        board.post("enough")
        for connection in connections:
            assert connection.response().text == "done"
    finally:
        board.post("enough")
        for connection in connections:
            connection.close()


@pytest.mark.smoke
def test_a_busy_wsgi_function_is_on_top(serve: Serve, board: Board) -> None:
    server = serve(wsgi(WSGI))
    with at_work(server, board, "/reckons"):
        document = profile(server, f"app={WSGI}&seconds=1")
    found = speedscope.stacks(document, WSGI)
    assert any(stack[:2] == ("app", "reckon") for stack in found), found
    (title,) = [title for title in speedscope.titles(document) if "wsgi-" in title]
    assert title.startswith(WSGI)
    (frame,) = [frame for frame in document["shared"]["frames"] if frame["name"] == "reckon"]
    assert frame["file"].endswith("/bare/busy.py")
    assert frame["line"] > 1


@pytest.mark.smoke
@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
def test_a_busy_coroutine_is_on_top(serve: Serve, board: Board, loop: str) -> None:
    server = serve(asgi(ASGI, "lifespan off", f"loop {loop}"))
    with at_work(server, board, "/awaits"):
        document = profile(server, f"app={ASGI}&seconds=1")
    found = speedscope.stacks(document, ASGI)
    assert any({"asgi", "deep", "reckon"} <= set(stack) for stack in found), found


def test_a_job_of_an_executor_is_shown(serve: Serve, board: Board) -> None:
    server = serve(asgi(ASGI, "lifespan off"), slack=Slack(threads=4, python_threads=1))
    with at_work(server, board, "/elsewhere"):
        document = profile(server, f"app={ASGI}&seconds=1")
    found = speedscope.stacks(document, "_0")
    assert any("reckon" in stack for stack in found), (
        speedscope.titles(document),
        speedscope.stacks(document)[:2],
    )


def test_a_thread_of_the_app_is_shown_by_its_name(serve: Serve, board: Board) -> None:
    server = serve(wsgi(WSGI))
    with at_work(server, board, "/starts"):
        document = profile(server, f"app={WSGI}&seconds=1")
        board.post("enough")
    found = speedscope.stacks(document, "alone")
    assert any(stack[:2] == ("alone", "reckon") for stack in found), (
        speedscope.titles(document),
        speedscope.stacks(document)[:2],
    )
    assert not speedscope.stacks(document, "wsgi-"), "its pool has no request"


def test_a_request_that_waits_counts(serve: Serve, board: Board) -> None:
    server = serve(wsgi(WSGI))
    with at_work(server, board, "/rests"):
        document = profile(server, f"app={WSGI}&seconds=1")
    assert any(stack[:2] == ("app", "rest") for stack in speedscope.stacks(document))


@pytest.mark.parametrize("interface", ["wsgi", "asgi"])
def test_an_idle_app_is_called_idle(serve: Serve, interface: str) -> None:
    server = serve(wsgi(WSGI) if interface == "wsgi" else asgi(ASGI, "lifespan off"))
    name = WSGI if interface == "wsgi" else ASGI
    document = profile(server, f"app={name}&seconds=1")
    assert [title.endswith(", idle") for title in speedscope.titles(document)] == [True]
    assert document["shared"]["frames"] == []


@pytest.mark.smoke
def test_other_apps_are_left_out(serve: Serve, board: Board) -> None:
    server = serve(f"{wsgi(WSGI, matcher='/reckons')}\n{wsgi(OTHER, matcher='/other')}")
    with at_work(server, board, "/reckons", "/other"):
        document = profile(server, f"app={WSGI}&seconds=1")
        identity = app(server, OTHER)["id"]
        by_id = profile(server, f"app={identity}&seconds=1&rate=50")
        both = profile(server, "seconds=1")
    assert "reckon" in speedscope.functions(document)
    assert "other_reckons" not in speedscope.functions(document)
    assert {"other_reckons"} <= speedscope.functions(by_id) - {"reckon"}
    assert "reckon" not in speedscope.functions(by_id)
    assert {"reckon", "other_reckons"} <= speedscope.functions(both)
    assert any(title.startswith("canary") for title in speedscope.titles(both))


@pytest.mark.smoke
@pytest.mark.parametrize(("name", "folder"), [(WSGI, wsgi), (ASGI, asgi)])
@pytest.mark.in_process("its apps have workers, and its canaries none")
def test_every_worker_is_shown(serve: Serve, board: Board, name: str, folder: Any) -> None:
    options = ["lifespan off"] if folder is asgi else []
    server = serve(folder(name, "workers 2", *options), slack=WORKERS)
    with at_work(server, board, "/reckons", "/reckons"):
        document = profile(server, f"app={name}&seconds=1")
    for number in (1, 2):
        found = speedscope.stacks(document, f"{name}, worker {number}, ")
        assert any("reckon" in stack for stack in found), speedscope.titles(document)


@contextmanager
def being_taken(server: Server, query: str) -> Iterator[list[Any]]:
    """A profile that is taken meanwhile. It is in the list when the block has ended."""
    taken: list[Any] = []
    taking = threading.Thread(target=lambda: taken.append(profile(server, query)))
    taking.start()
    try:
        yield taken
    finally:
        taking.join(90)


@pytest.mark.in_process("its apps have workers, and its canaries none")
def test_a_worker_that_dies_does_not_spoil_the_profile(serve: Serve, board: Board) -> None:
    server = serve(wsgi(WSGI, "workers 2"), slack=WORKERS)
    server.expect_log("python worker has ended unexpectedly")
    server.expect_log("requests of an ended python worker are lost")
    server.expect_log("^the worker of the python application has ended")
    with server.connect() as first, server.connect() as second:
        for connection in (first, second):
            connection.request("GET", "/reckons", board.headers)
        board.wait("busy", 2)
        with being_taken(server, f"app={WSGI}&seconds=5") as taken:
            pid, _ = board.wait("profiled", 2)
            os.kill(int(pid), signal.SIGKILL)
        board.post("enough")
        assert {first.response().status, second.response().status} == {200, 502}
    (document,) = taken
    assert any("reckon" in stack for stack in speedscope.stacks(document))
    assert any("has ended" in title for title in speedscope.titles(document))
    wait_for(lambda: len(workers(server)) == 2, "the successor")


def test_an_app_may_be_reloaded_meanwhile(serve: Serve, board: Board) -> None:
    server = serve(wsgi(WSGI))
    identity = app(server, WSGI)["id"]
    with at_work(server, board, "/reckons"):
        with being_taken(server, f"app={WSGI}&seconds=3") as taken:
            assert call(server, "POST", f"apps/{identity}/reload").status == 200
        (document,) = taken
    assert any("reckon" in stack for stack in speedscope.stacks(document))


@pytest.mark.in_process("its apps have workers, and its canaries none")
def test_a_worker_that_stops_leaves_what_it_had(serve: Serve, board: Board) -> None:
    server = serve(wsgi(WSGI, "workers 1"), slack=WORKERS)
    with at_work(server, board, "/starts"):
        with being_taken(server, f"app={WSGI}&seconds=60") as taken:
            board.wait("profiled")
            identity = app(server, WSGI)["id"]
            assert call(server, "POST", f"apps/{identity}/reload").status == 200
        (document,) = taken
    found = speedscope.stacks(document, "alone")
    assert any("reckon" in stack for stack in found), speedscope.titles(document)


@pytest.mark.smoke
def test_a_client_that_leaves_ends_its_profile(serve: Serve) -> None:
    """Until then, others are refused."""
    server = serve(wsgi(WSGI))
    server.allow_log("another profile is being taken")
    request = f"GET /python/profile?seconds=60 HTTP/1.1\r\nHost: {HOST}:{server.admin}\r\n\r\n"

    def is_refused() -> bool:
        client.sendall(request.encode())  # again: it is refused itself if it comes later
        return call(server, "GET", "profile?seconds=1").status == 409

    with socket.create_connection((HOST, server.admin), 20) as client:
        wait_for(is_refused, "the first of both", 30)
    wait_for(lambda: call(server, "GET", "profile?seconds=1").status == 200, "its end", 30)


@pytest.mark.smoke
@pytest.mark.parametrize(
    ("query", "status", "text"),
    [
        ("app=unknown", 404, "busy:app"),
        ("seconds=0", 400, "seconds must be a number from 1 to 60"),
        ("seconds=61", 400, "seconds must be a number from 1 to 60"),
        ("seconds=nan", 400, "seconds must be a number from 1 to 60"),
        ("rate=0.5", 400, "rate must be a number from 1 to 500"),
        ("rate=many", 400, "rate must be a number from 1 to 500"),
    ],
)
def test_wrong_parameters_are_refused(server: Server, query: str, status: int, text: str) -> None:
    server.expect_log("request error", logger="admin.api")
    response = call(server, "GET", f"profile?{query}")
    assert (response.status, text in json.loads(response.body)["error"]) == (status, True)


@pytest.fixture(scope="module")
def server(serve_module: Serve) -> Server:
    return serve_module(wsgi(WSGI))


# The command


def command(server: Server, *arguments: str, name: str = "profile") -> list[str]:
    return [name, *arguments, "--address", f"{HOST}:{server.admin}"]


@pytest.mark.smoke
@pytest.mark.parametrize("name", ["profile", "python-profile"])
def test_the_command_writes_the_file(serve: Serve, board: Board, tmp_path: Path, name: str) -> None:
    server = serve(wsgi(WSGI))
    file = tmp_path / "shop.json"
    with at_work(server, board, "/reckons"):
        done = server.command(
            *command(server, WSGI, "--seconds", "1", "--output", str(file), name=name)
        )
    assert (done.returncode, done.stderr) == (0, "")
    assert f"in {file}.\nOpen it at https://www.speedscope.app" in done.stdout
    document = json.loads(file.read_text())
    speedscope.check(document)
    (row,) = [line.split() for line in done.stdout.splitlines() if " reckon " in line]
    assert row[-1].startswith("bare/busy.py:")
    assert int(row[2]) > 0, "the share of the time with what it has called"


def test_the_command_says_what_the_server_says(server: Server, tmp_path: Path) -> None:
    server.expect_log("request error", logger="admin.api")
    file = tmp_path / "none.json"
    done = server.command(*command(server, "unknown", "--output", str(file)))
    assert done.returncode == 1
    assert "no python application" in done.stderr
    assert not file.exists()


def test_the_command_says_that_nothing_ran(serve: Serve, tmp_path: Path) -> None:
    server = serve(wsgi(WSGI))
    file = tmp_path / "idle.json"
    done = server.command(*command(server, WSGI, "-s", "1", "-o", str(file)))
    assert "No thread had work" in done.stdout
