"""The CPythons that caddysnake is tested with, and those of them that this machine has."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

from harness.settings import REPOSITORY

DEBIANS = Path("/usr/bin/python3")


def _minors() -> list[str]:
    makefile = (REPOSITORY / "Makefile").read_text()
    (minors,) = re.findall(r"^MINORS +:= (.+)$", makefile, re.MULTILINE)
    return minors.split()


# Those that caddysnake is tested with.
MINORS = _minors()


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
