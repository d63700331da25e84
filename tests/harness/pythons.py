"""The CPythons of this machine that a wheel should run on."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

MINORS = ("3.10", "3.11", "3.12", "3.13")
DEBIANS = Path("/usr/bin/python3")


def _works(python: str) -> bool:
    """pyenv's shims are there for versions that are not."""
    done = subprocess.run([python, "-c", "import ensurepip, venv"], capture_output=True)
    return done.returncode == 0


def _find(minor: str) -> str | None:
    found = shutil.which(f"python{minor}")
    if found and _works(found):
        return found
    if shutil.which("pyenv"):
        command = ["pyenv", "whence", "--path", f"python{minor}"]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.stdout.strip():
            return done.stdout.splitlines()[-1]
    return None


def pythons() -> list[str]:
    found = [python for minor in MINORS if (python := _find(minor))]
    if DEBIANS.exists() and _works(str(DEBIANS)):
        found.append(str(DEBIANS))
    return found
