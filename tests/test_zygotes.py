"""Zygotes: what they import before they fork workers (`preload`), and when they are replaced."""

from __future__ import annotations

import contextlib
import os
import signal
from pathlib import Path

import pytest

from harness.caddyfile import python
from harness.plugin import Serve
from harness.server import Server
from harness.tenants import install, make_venv
from harness.waiting import wait_for
from harness.workers import WORKERS, processes, worker

pytestmark = pytest.mark.in_process("its apps have workers, and its canaries none")

# Says which version of the package it has, and which process has imported it.
APP = """
import os
import tool

def app(environ, start_response):
    start_response("200 OK", [])
    return [f"{tool.VERSION} {os.getpid() == tool.PID} {os.getpid()}".encode()]
"""


def put(venv: Path, version: str) -> None:
    source = f"import os\nVERSION, PID = {version!r}, os.getpid()\n"
    install(venv, "tool", version, {"tool.py": source})


def site(tmp_path: Path, *options: str) -> str:
    folder = tmp_path / "site"
    folder.mkdir(exist_ok=True)
    (folder / "main.py").write_text(APP)
    return python("main:app", "workers 1", *options, folder=folder, venv=tmp_path / "venv")


@pytest.fixture
def venv(tmp_path: Path) -> Path:
    venv = make_venv(tmp_path / "venv")
    put(venv, "1.0")
    return venv


def answer(server: Server) -> list[str]:
    return server.get("/").text.split()


def zygotes(server: Server) -> list[int]:
    """Processes that have forked a worker, or could."""
    found = []
    for pid in processes(server):
        with contextlib.suppress(OSError):  # it has ended meanwhile
            if Path(f"/proc/{pid}/comm").read_text() == "python-zygote\n":
                found.append(pid)
    return found


@pytest.mark.not_emulated("makes the environment with the Python of pytest")
@pytest.mark.smoke
def test_the_first_worker_has_what_is_preloaded(serve: Serve, venv: Path, tmp_path: Path) -> None:
    # The zygote's import makes __pycache__ in the folder of packages, which is no change of them.
    writing = {"PYTHONDONTWRITEBYTECODE": ""}
    server = serve(site(tmp_path, "preload tool"), env=writing, slack=WORKERS)
    version, has_imported, _ = answer(server)
    assert (version, has_imported) == ("1.0", "False")
    assert len(list(venv.glob("lib/python*/site-packages/__pycache__"))) == 1


def test_what_is_not_installed_is_named_in_the_log(
    serve: Serve, venv: Path, tmp_path: Path
) -> None:
    own = tmp_path / "own"
    own.mkdir()
    (own / "editable.py").write_text("")
    (packages,) = venv.glob("lib/python*/site-packages")
    (packages / "editable.pth").write_text(f"{own}\n")
    server = serve(site(tmp_path, "preload tool absent editable main"), slack=WORKERS)
    assert answer(server)[:2] == ["1.0", "False"]
    warnings = server.log.find("a package of preload is not installed", level="warn")
    # The application's own modules are not the environment's.
    assert [record.fields["package"] for record in warnings] == ["absent", "editable", "main"]


def replace_worker(server: Server, *expected: str) -> None:
    """Kills the worker, and waits until another one answers like this."""
    pid = answer(server)[2]
    os.kill(int(pid), signal.SIGKILL)

    def replaced() -> bool:
        *facts, other = answer(server) or [pid]
        return facts == list(expected) and other != pid

    wait_for(replaced, f"a worker that answers {expected}", 30)


@pytest.fixture
def server(serve: Serve, venv: Path, tmp_path: Path) -> Server:
    server = serve(site(tmp_path, "preload tool"), slack=WORKERS)
    server.allow_log("ended unexpectedly|keeps ending|no worker of")
    return server


def test_a_worker_has_the_packages_that_are_installed_now(server: Server, venv: Path) -> None:
    (old,) = zygotes(server)
    put(venv, "2.0")
    replace_worker(server, "2.0", "True")
    assert server.log.find("^packages have changed: python workers get a new zygote$")
    wait_for(lambda: zygotes(server) not in ([], [old]), "the new zygote")
    replace_worker(server, "2.0", "False")


def test_a_dead_zygote_is_replaced_at_once(server: Server, tmp_path: Path) -> None:
    (old,) = zygotes(server)
    *facts, pid = answer(server)
    os.kill(old, signal.SIGKILL)
    wait_for(lambda: zygotes(server) not in ([], [old]), "the new zygote")
    assert answer(server) == [*facts, pid]  # Its workers live on.
    server.configure(site(tmp_path, "preload tool", "slow_request 61s"))  # waits for the zygote
    *facts, other = answer(server)
    assert facts == ["1.0", "False"]
    assert other != pid


@pytest.mark.smoke
@pytest.mark.parametrize(
    ("options", "why"),
    [
        (("workers 0", "preload json"), "preload is for worker processes: add workers 1"),
        (("workers 1", "preload ../x"), "preload: '../x' is not the name of a module"),
        (("workers 1", "preload"), "wrong argument count"),
    ],
)
def test_mistakes_are_refused(unstarted: Serve, options: tuple[str, str], why: str) -> None:
    number, option = options
    assert why in unstarted(worker("plain:app", option, workers=number)).run_in_vain()
