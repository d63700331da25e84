"""Applications that are loaded at the same time: each module once, and nobody sees half of one."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from harness import http1
from harness.board import Board
from harness.plugin import Serve
from harness.settings import APPS
from harness.tenants import block, install, make_venv, write

# Requests import for the first time, so all applications do so at once.
APP = """
import os

def app(environ, start_response):
    import slow, slow_shared
    assert slow_shared.complete and slow.complete
    start_response("200 OK", [])
    return [f"{slow.TENANT} {slow_shared.times} {id(slow_shared)}".encode()]
"""
# One after the other, they would wait for ever.
SLOW = """
import os
from board import Board
TENANT, TENANTS = os.environ["TENANT"], os.environ["TENANTS"].split()
board = Board(os.environ["BOARD"])
board.note(TENANT)
for tenant in TENANTS:
    board.wait(tenant)
complete = True
"""
SLOW_SHARED = """
import builtins, time
times = builtins.slow_shared_times = getattr(builtins, "slow_shared_times", 0) + 1
time.sleep(0.5)
complete = True
"""
CIRCLE = {
    "circle_a.py": "import time\ntime.sleep(0.2)\nimport circle_b\nNAME = 'a'",
    "circle_b.py": "import time\ntime.sleep(0.2)\nimport circle_a\nNAME = 'b'",
}


@pytest.mark.in_process("a worker has one application, and nothing to isolate")
def test_applications_import_side_by_side(serve: Serve, tmp_path: Path, board: Board) -> None:
    venv = make_venv(tmp_path / "venv")
    install(venv, "slow", "1.0", {"slow_shared.py": SLOW_SHARED})
    names = [f"tenant{number}" for number in range(6)]
    options = (
        f"env_var BOARD {board.folder}",
        f'env_var TENANTS "{" ".join(names)}"',
        f"python_path {APPS / 'bare'}",
    )
    blocks = []
    for name in names:
        folder = tmp_path / name
        write(folder, {"main.py": APP, "slow.py": SLOW})
        blocks.append(block(folder, "main:app", *options, interface="module_wsgi", venv=venv))
    server = serve(*blocks)
    with ThreadPoolExecutor(12) as pool:
        answers = list(
            pool.map(lambda port: http1.request(port, "GET", "/").text, server.ports * 2)
        )
    assert [answer.split()[0] for answer in answers] == names * 2
    assert {answer.split()[1] for answer in answers} == {"1"}
    assert len({answer.split()[2] for answer in answers}) == 1
    assert [board.lines(name) for name in names] == [[""]] * len(names)


def test_a_circle_of_shared_modules_does_not_lock_up(serve: Serve, tmp_path: Path) -> None:
    venv = make_venv(tmp_path / "venv")
    install(venv, "circle", "1.0", CIRCLE)
    blocks = []
    for name, first in [("one", "circle_a"), ("two", "circle_b")]:
        code = f"""
            def app(environ, start_response):
                import {first} as first
                start_response("200 OK", [])
                return [first.NAME.encode()]
            """
        write(tmp_path / name, {"main.py": "\n".join(line[12:] for line in code.splitlines())})
        blocks.append(block(tmp_path / name, "main:app", interface="module_wsgi", venv=venv))
    server = serve(*blocks)
    with ThreadPoolExecutor(2) as pool:
        answers = list(pool.map(lambda port: http1.request(port, "GET", "/").text, server.ports))
    assert answers == ["a", "b"]
