"""A suite of its own whose tests plant faults and pass, so that the harness fails them."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from harness.settings import BINARY, TESTS, VENV


def run_planted(folder: Path, code: str) -> str:
    """What pytest says of these tests."""
    (folder / "test_planted.py").write_text(code)
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "harness.plugin", "-p", "no:cacheprovider", "-rA"],
        cwd=folder,
        env={
            **os.environ,
            "PYTHONPATH": str(TESTS),
            "CADDYSNAKE_BIN": str(BINARY),
            "CADDYSNAKE_VENV": str(VENV),
        },
        capture_output=True,
        text=True,
    )
    return done.stdout
