"""The commands `status` and `top`, which show what the admin endpoint says."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from harness.board import Board
from harness.caddyfile import wsgi
from harness.dynamic import Tenants, ask_tenant
from harness.health import LATE_APPS
from harness.plugin import Serve
from harness.ports import HOST
from harness.server import Server
from harness.settings import BINARY
from harness.waiting import wait_for

SLOW = "wsgi_slow:app"


def status(server: Server, command: str = "status") -> subprocess.CompletedProcess[str]:
    return server.command(command, "--address", f"{HOST}:{server.admin}")


def row(text: str, name: str) -> dict[str, str]:
    """The columns of an application, by their heads."""
    (table,) = [part for part in text.split("\n\n") if part.startswith("APP ")]
    head, *lines = table.splitlines()
    (found,) = [line for line in lines if line.startswith(f"{name} ")]
    return dict(zip(*(re.split(r" {2,}", line) for line in (head, found)), strict=True))


@pytest.mark.smoke
@pytest.mark.parametrize("command", ["status", "python-status"])
def test_the_status_shows_applications(serve: Serve, command: str) -> None:
    server = serve(wsgi(SLOW), probe="/hello")
    done = status(server, command)
    assert (done.returncode, done.stderr) == (0, "")
    shown = row(done.stdout, SLOW)
    assert (shown["STATE"], shown["TYPE"], shown["REQS"]) == ("loaded", "wsgi", "0")
    assert shown["DIRECTORY"].endswith("/bare")


def test_the_status_shows_why_an_application_is_not_loaded(
    serve: Serve, tmp_path: Path, board: Board
) -> None:
    tenants = Tenants(tmp_path / "sites", board, "wsgi")
    tenants.add_broken("broken", "1 / 0")
    server = serve(tenants.block(), slack=LATE_APPS)
    server.expect_log("ZeroDivisionError")
    server.expect_log("could not be loaded")
    assert ask_tenant(server, "broken").status == 500
    done = status(server)
    assert done.returncode == 1
    assert row(done.stdout, "main:app")["STATE"] == "failed"
    assert "ZeroDivisionError" in done.stdout
    assert "not all applications could be loaded" in done.stderr


def test_the_status_of_no_server_is_an_error(unstarted: Serve) -> None:
    server = unstarted(wsgi(SLOW))
    done = status(server)
    assert done.returncode == 1
    assert "connection refused" in done.stderr


@pytest.mark.smoke
def test_top_shows_what_runs(serve: Serve, board: Board, tmp_path: Path) -> None:
    server = serve(wsgi(SLOW), probe="/hello")
    screen = tmp_path / "screen"
    command = [BINARY, "top", "--address", f"{HOST}:{server.admin}", "--interval", "100ms"]
    with server.connect() as connection, screen.open("wb") as output:
        connection.request("GET", "/waits", board.headers)
        board.wait("running")
        top = subprocess.Popen(command, stdout=output, stderr=output)
        try:
            wait_for(lambda: screen.read_text().count("\x1b[2J") >= 3, "three looks")
        finally:
            top.send_signal(2)
            code = top.wait(20)
        board.post("go")
        assert connection.response().text == "done"
    assert code == 0
    last = screen.read_text().split("\x1b[2J")[-1]
    assert row(last, SLOW)["REQS"] == "1"
    (running,) = [line for line in last.splitlines() if line.endswith("GET /waits")]
    assert running.split()[1:3] == ["running", SLOW]
