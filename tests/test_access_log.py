"""What the access log says about a request's way through Python."""

from __future__ import annotations

import time
from typing import Any

import pytest

from harness.board import Board
from harness.caddyfile import asgi
from harness.plugin import Serve
from harness.server import Server
from harness.waiting import wait_for
from harness.websocket import WebSocket
from harness.workers import SHARED, WORKERS, worker

pytestmark = pytest.mark.in_process("its apps say themselves where they run")

FIELDS = ["python_app", "python_worker", "python_queue", "python_time"]


def access(server: Server, target: str, times: int = 1) -> dict[str, Any]:
    """The fields of the newest of these requests."""

    def found() -> list[dict[str, Any]]:
        records = server.log.find("^handled request$")
        return [each.fields for each in records if each.fields["request"]["uri"] == target]

    return wait_for(lambda: len(found()) >= times and found(), f"{target} in the log")[-1]


def own(fields: dict[str, Any]) -> list[str]:
    return [name for name in FIELDS if name in fields]


@pytest.mark.smoke
@pytest.mark.parametrize("workers", ["workers 0", "workers 2"])
def test_a_request_has_its_app_its_worker_and_its_times(
    serve: Serve, board: Board, workers: str
) -> None:
    server = serve(f"log\n{worker('plain:app', workers=workers)}", slack=WORKERS)
    with server.connect() as connection:
        connection.request("GET", "/waits", board.headers)
        board.wait("begun")
        began = time.monotonic()
        assert server.get("/pid").status == 200
        waited = time.monotonic() - began
        board.post("go")
        assert connection.response().status == 200
    fields = access(server, "/waits")
    numbered = [] if workers == "workers 0" else ["python_worker"]
    assert own(fields) == ["python_app", *numbered, "python_queue", "python_time"]
    assert fields["python_app"] == "plain:app"
    assert fields.get("python_worker", 1) in (1, 2)
    assert waited <= fields["python_time"] <= fields["duration"]
    assert fields["python_queue"] + fields["python_time"] <= fields["duration"]


@pytest.mark.parametrize("options", [[], ["workers 1"]])
def test_a_websocket_and_an_event_stream(serve: Serve, board: Board, options: list[str]) -> None:
    notes = f"env_var NOTES {board.folder}"
    block = asgi("alive:app", SHARED, notes, *options, folder="workers")
    server = serve(f"log\n{block}", slack=WORKERS)
    with WebSocket(server, "/chat") as websocket:
        websocket.text("hello")
        websocket.receive()
    fields = access(server, "/chat")
    assert 0 < fields["python_time"] <= fields["duration"]
    with server.connect() as connection:
        connection.request("GET", "/events")
        board.post("go")
        connection.response()
    assert access(server, "/events")["python_time"] > 0


def test_a_request_that_no_app_gets_has_no_times(serve: Serve) -> None:
    server = serve(f"log\n{asgi('alive:app', SHARED, 'env_var NOTES /', folder='workers')}")
    server.allow_log("^handled request$|handshake|websocket")
    handshake = [("Upgrade", "websocket"), ("Connection", "Upgrade"), ("Content-Length", "0")]
    assert server.get("/bad", handshake).status in (400, 426)
    assert own(access(server, "/bad")) == ["python_app"]


def test_a_site_without_python_has_no_fields(serve: Serve) -> None:
    server = serve("log\nrespond hello")
    assert server.get("/").text == "hello"
    assert own(access(server, "/")) == []
