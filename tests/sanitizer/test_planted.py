"""A sanitizer's report must fail the test that causes it. `make test-asan` runs this.

CADDYSNAKE_BIN is a server that was built with AddressSanitizer.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from harness.settings import BINARY, TESTS, VENV

PLANTED = """
from harness.caddyfile import wsgi
from harness.http1 import Broken

def test_reads_beyond_a_buffer(serve):
    server = serve(wsgi("guest:app"))
    try:
        server.get("/reads_beyond_a_buffer")
    except (Broken, OSError):
        pass

def test_reads_a_buffer(serve):
    assert serve(wsgi("guest:app")).get("/hello").status == 200
"""


def test_a_read_beyond_a_buffer_fails_its_own_test_only(tmp_path: Path) -> None:
    (tmp_path / "test_planted.py").write_text(PLANTED)
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "harness.plugin", "-p", "no:cacheprovider", "-rA"],
        cwd=tmp_path,
        env={
            **os.environ,
            "PYTHONPATH": str(TESTS),
            "CADDYSNAKE_BIN": str(BINARY),
            "CADDYSNAKE_VENV": str(VENV),
        },
        capture_output=True,
        text=True,
    )
    assert "1 failed, 1 passed" in done.stdout, done.stdout
    assert "FAILED test_planted.py::test_reads_beyond_a_buffer" in done.stdout
    assert "AddressSanitizer: heap-buffer-overflow" in done.stdout
