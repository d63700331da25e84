"""Threads of code that was replaced: nobody can end them, so the log names them."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.health import Slack
from harness.plugin import Serve
from harness.source import WSGI, Source, await_version
from harness.tenants import install, make_venv
from harness.waiting import wait_for

GOES_ON = "threads of an unloaded application in .* go on: "
THREADS = {
    "names": (
        "import threading\n"
        "threading.Thread(target=threading.Event().wait, name='ticker', daemon=True).start()\n"
        "threading.Thread(target=threading.Event().wait, name='poller', daemon=True).start()\n",
        "poller, ticker; end them in",
    ),
    "functions": (
        "import _thread, threading\n"
        "def tick():\n    threading.Event().wait()\n"
        "_thread.start_new_thread(tick, ())\n",
        "tick; end them in",
    ),
}
ENDS = """
import atexit, threading
stopped = threading.Event()
thread = threading.Thread(target=stopped.wait, name="ends", daemon=True)
thread.start()
atexit.register(stopped.set)
"""
# As much of APScheduler as there is to end.
SCHEDULER = """
import threading

class BackgroundScheduler:
    def __init__(self):
        self._event = threading.Event()

    def start(self):
        threading.Thread(target=self._main_loop, name="APScheduler", daemon=True).start()

    def shutdown(self, wait=True):
        self._event.set()

    def _main_loop(self):
        self._event.wait()
        print("scheduler ended")
"""


def source(tmp_path: Path, code: str) -> Source:
    return Source(tmp_path / "site", code + WSGI)


@pytest.mark.in_process("daemon threads end with their worker")
@pytest.mark.smoke
@pytest.mark.parametrize("kind", THREADS)
def test_threads_that_go_on_are_named_once(serve: Serve, tmp_path: Path, kind: str) -> None:
    code, named = THREADS[kind]
    edited = source(tmp_path, code)
    server = serve(edited.block(), slack=Slack(threads=8, python_threads=8))
    warning = server.expect_log(GOES_ON + named, level="warn", times=1)
    edited.write("2")
    await_version(server, "2")
    wait_for(lambda: server.check() or warning.records, "the warning")
    assert str(tmp_path / "site") in warning.records[0].text


@pytest.mark.in_process("daemon threads end with their worker")
def test_threads_that_end_are_not_named(serve: Serve, tmp_path: Path) -> None:
    ends, goes_on = source(tmp_path / "ends", ENDS), source(tmp_path / "on", THREADS["names"][0])
    server = serve(ends.block(), goes_on.block(), slack=Slack(threads=8, python_threads=8))
    ends.write("2")
    await_version(server, "2")
    warning = server.expect_log(GOES_ON, level="warn", times=1)
    goes_on.write("2")
    wait_for(lambda: server.check() or warning.records, "the warning about the other application")
    assert str(tmp_path / "on") in warning.records[0].text


@pytest.mark.in_process("daemon threads end with their worker")
def test_schedulers_end_with_their_application(serve: Serve, tmp_path: Path) -> None:
    venv = make_venv(tmp_path / "venv")
    files = {"apscheduler/__init__.py": "", "apscheduler/schedulers/background.py": SCHEDULER}
    install(venv, "apscheduler", "3.0", files)
    edited = source(
        tmp_path,
        "from apscheduler.schedulers.background import BackgroundScheduler\n"
        "BackgroundScheduler().start()\n",
    )
    server = serve(edited.block(venv=venv), slack=Slack(threads=8, python_threads=8))
    server.expect_log("^scheduler ended", level="info")
    edited.write("2")
    await_version(server, "2")


def test_timers_are_cancelled_with_their_application(serve: Serve, tmp_path: Path) -> None:
    code = "import threading\nthreading.Timer(600, print).start()\n"
    edited = source(tmp_path, code)
    server = serve(edited.block())
    for version in ("2", "3", "4"):
        edited.write(version)
        await_version(server, version)
    server.check()  # there are as many threads as before
