"""What an app leaves on a thread of the pool, and another app must not find there."""

from __future__ import annotations

import json
from typing import Any

import pytest

from harness import http1
from harness.board import Board
from harness.caddyfile import wsgi
from harness.health import Slack
from harness.plugin import Serve
from harness.server import Server

pytestmark = pytest.mark.in_process("a worker's threads serve one application")

APP = "wsgi_thread_state:app"

THINGS = [
    "nothing",
    "event loop",
    "running loop",
    "local",
    "attribute",
    "name",
    "fewer attributes",
    "other attributes",
    "class",
    "trace",
    "profile",
    "threading.settrace",
    "threading.setprofile",
    "asyncgen hooks",
    "origin depth",
    "signal mask",
    "affinity",
]
# Without privileges these can't be put back, so the thread must end.
DEGRADING = ["scheduler", "niceness", "setpriority"]


@pytest.fixture
def server(serve: Serve) -> Server:
    # Handlers of equal settings would share one app. An event loop that an app leaves on a thread
    # stays there for that app, with three descriptors.
    sites = wsgi(APP, "threads 8"), wsgi(APP, "threads 9")
    return serve(*sites, probe="/hello", slack=Slack(descriptors=16))


def ask(server: Server, site: int, target: str, board: Board | None = None) -> Any:
    headers = board.headers if board is not None else ()
    response = http1.request(server.ports[site], "GET", target.replace(" ", "%20"), headers)
    assert response.status == 200
    return json.loads(response.body)


@pytest.mark.conformance("S32")
@pytest.mark.parametrize("thing", [*THINGS, *DEGRADING])
def test_another_app_finds_nothing_of_it(server: Server, thing: str) -> None:
    _, before = ask(server, 1, "/finds")
    for _ in range(20):
        left_on = ask(server, 0, f"/leaves?{thing}")
        found_on, after = ask(server, 1, "/finds")
        assert after == before
        if found_on == left_on:
            break
    else:
        assert thing in DEGRADING, "it was never the thread on which that was left"
    seen = set(ask(server, 0, "/saw"))
    assert not seen & {"finds", "in_a_thread"}, "a tracer saw the other app"
    assert ask(server, 1, "/finds")[1] == before


@pytest.mark.conformance("S32")
def test_an_exception_that_comes_late_does_not_hit_another_app(
    server: Server, board: Board
) -> None:
    left_on = ask(server, 0, "/leaves_an_exception", board)
    board.post("go")
    assert board.wait("sent") == ["1"]
    while ask(server, 1, "/finds")[0] != left_on:
        pass  # Mostly the first is the one; all of them get their answer.


@pytest.mark.conformance("S32")
def test_an_app_finds_again_what_it_kept_in_a_local(server: Server) -> None:
    left_on = found_on = ask(server, 0, "/leaves?local")
    found = None
    while found is None or found_on != left_on:
        assert ask(server, 1, "/finds")[1]["local"] == []
        found_on, found = ask(server, 0, "/finds")
    assert found["local"] == ["user"]


@pytest.mark.conformance("S32")
def test_what_a_local_keeps_is_freed_with_its_app(server: Server, board: Board) -> None:
    assert ask(server, 0, "/keeps", board) == "kept"
    server.reload(wsgi(APP, "threads 7"), wsgi(APP, "threads 9"))
    board.wait("freed", deadline=20)
