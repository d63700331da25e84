"""A sanitizer's report must fail the test that causes it. `make test-asan` runs this.

CADDYSNAKE_BIN is a server that was built with AddressSanitizer.
"""

from __future__ import annotations

from pathlib import Path

from harness.planted import run_planted

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
    said = run_planted(tmp_path, PLANTED)
    assert "1 failed, 1 passed" in said, said
    assert "FAILED test_planted.py::test_reads_beyond_a_buffer" in said
    assert "AddressSanitizer: heap-buffer-overflow" in said
