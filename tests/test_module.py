"""The second build shape: Caddy as an extension module, inside the python that imports it."""

from __future__ import annotations

import ast
import json
import os
import signal
import sys
from pathlib import Path

import pytest

from harness.caddyfile import python, wsgi
from harness.plugin import Serve
from harness.settings import REPOSITORY
from harness.tenants import make_venv
from harness.waiting import wait_for
from harness.workers import WORKERS, worker, workers

BIN = REPOSITORY / "bin"
# What the wheel's console script does.
MAIN = (
    f"import sys; sys.path.insert(0, {str(BIN)!r}); import _caddy; "
    f"_caddy.main(sys.argv, sys.executable, {str(BIN / '_worker.abi3.so')!r})"
)
LAUNCHER = (sys.executable, "-c", MAIN)


def test_the_module_serves_both_interfaces_and_stops_on_sigterm(serve: Serve) -> None:
    """The harness asks the canary's WSGI and ASGI apps after the test, and stops the server."""
    server = serve('respond "up"', launcher=LAUNCHER)
    assert server.get("/").text == "up"


def test_a_broken_app_is_refused_with_the_reason(unstarted: Serve) -> None:
    server = unstarted(wsgi("absent_module:app"), launcher=LAUNCHER)
    assert "there is no module 'absent_module'" in server.run_in_vain()


@pytest.mark.in_process("its apps have workers, and its canaries none")
def test_workers_are_python_without_go(serve: Serve) -> None:
    """Two by one option, with a zygote, and their successors."""
    server = serve(worker("plain:app", workers="workers 2"), launcher=LAUNCHER, slack=WORKERS)
    server.allow_log("ended unexpectedly")
    assert len(workers(server)) == 2
    for _ in range(2):
        pid = int(server.get("/pid").text)
        assert pid in workers(server)
        assert "_caddy.abi3.so" not in Path(f"/proc/{pid}/maps").read_text()
        os.kill(pid, signal.SIGKILL)
        wait_for(lambda pid=pid: len(workers(server) - {pid}) == 2, "a successor")
    assert json.loads(server.get("/start").text)["thread"] is True


@pytest.mark.in_process("its apps have workers, and its canaries none")
def test_a_worker_runs_in_its_environment(serve: Serve, tmp_path: Path) -> None:
    venv = make_venv(tmp_path / "venv")
    (tmp_path / "main.py").write_text(
        "import sys\n"
        "async def app(scope, receive, send):\n"
        "    await send({'type': 'http.response.start', 'status': 200, 'headers': []})\n"
        "    facts = repr([sys.prefix, sys.executable, sys.path[0], sys.argv])\n"
        "    await send({'type': 'http.response.body', 'body': facts.encode()})\n"
    )
    site = python(
        "main:app",
        "workers 1",
        "lifespan off",
        interface="module_asgi",
        folder=tmp_path,
        venv=venv,
    )
    server = serve(site, launcher=LAUNCHER, slack=WORKERS)
    folder = str(tmp_path)
    assert ast.literal_eval(server.get("/").text) == [
        str(venv),
        str(venv / "bin" / "python"),
        folder,
        [f"{folder}/__main__.py"],
    ]
    other = make_venv(tmp_path / "other", version="3.1")
    server.allow_log("request error")
    done = server.load(python("main:app", "workers 1", folder=tmp_path, venv=other))
    assert done.status == 400
    assert "belongs to Python 3.1.1, but Caddy runs Python" in done.text
