"""Interpreters that an application makes (PEP 734) have modules of their own, and no view.

Deselected before CPython 3.14, which has none.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.expressions import ask, site
from harness.health import Slack
from harness.plugin import Serve
from harness.settings import VENV

pytestmark = pytest.mark.smoke

# Their threads, and Python's own for what interpreters share, stay for a while.
SLACK = Slack(threads=12, python_threads=4, descriptors=8)

FUNCTIONS = """
import sys
from concurrent import interpreters
from concurrent.futures import InterpreterPoolExecutor

def seen():
    interpreter, queue = interpreters.create(), interpreters.create_queue()
    interpreter.prepare_main(queue=queue)
    interpreter.exec("import json, sys\\nfor _ in range(200): sys.path")
    interpreter.exec("queue.put((type(sys.modules).__name__, 'main' in sys.modules))")
    found = queue.get()
    interpreter.close()
    return found

def powers():
    with InterpreterPoolExecutor(2, initializer=len, initargs=("",)) as pool:
        return [*pool.map(pow, [2, 3], [4, 2]), pool.submit(abs, -1).result()]
"""


def test_an_interpreter_has_modules_of_its_own(serve: Serve, tmp_path: Path) -> None:
    server = serve(site(tmp_path, FUNCTIONS, venv=VENV), slack=SLACK)
    assert ask(server, "[seen(), 'main' in sys.modules]") == [[("dict", False), True]]


def test_an_executor_runs_functions_in_interpreters(serve: Serve, tmp_path: Path) -> None:
    server = serve(site(tmp_path, FUNCTIONS, venv=VENV), slack=SLACK)
    assert ask(server, "powers()") == [[16, 9, 1]]
