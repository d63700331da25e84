"""Virtual environments for the tests of installations, and the app that is served from them."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from harness import http1
from harness.python_server import PythonServer
from harness.settings import APPS, TESTS

SITE = APPS / "command_line"
# The app to serve, which starts processes in every way that Python has.
PACKAGED = "packaged:app"


def make_venv(python: str | Path, directory: Path, *requirements: str) -> Path:
    """A new virtual environment; its bin folder."""
    subprocess.run([python, "-m", "venv", str(directory)], check=True)
    pip = [str(directory / "bin" / "python"), "-m", "pip", "install", "--quiet"]
    subprocess.run([*pip, "--disable-pip-version-check", *requirements], check=True)
    return directory / "bin"


def write_constraints(file: Path) -> Path:
    """The versions of this suite's packages, as constraints for pip."""
    pinned = (TESTS / "requirements.txt").read_text()
    file.write_text(re.sub(r"\[.*?\]", "", pinned))  # they may have no extras
    return file


def make_app_venv(python: str | Path, directory: Path) -> Path:
    """The environment of PACKAGED and of the sites on Flask, FastAPI and Django, in `directory`."""
    # Editable installs leave files beside the sources.
    sample = shutil.copytree(APPS / "editable_sample", directory.with_name("sample"))
    constraints = write_constraints(directory.with_name("constraints.txt"))
    packages = ["-c", str(constraints), "fastapi", "Flask", "Django", "python-multipart"]
    make_venv(python, directory, *packages, "-e", str(sample))
    return directory


def serve_packaged(launcher: Sequence[str], venv: Path, directory: Path, **options: Any) -> Any:
    """What PACKAGED says that it sees, after a check of all that must hold wherever it runs."""
    arguments = [PACKAGED, "--venv", str(venv)]
    with PythonServer(directory, *arguments, cwd=SITE, launcher=launcher, **options) as server:
        answer = http1.request(server.port, "GET", "/", timeout=60)
        assert answer.status == 200, server.output
        server.interrupt()
        assert server.wait() == 0
    seen = json.loads(answer.body)
    assert seen["prefix"] == str(venv)
    assert seen["fastapi"] == seen["of_child"]
    assert seen["fastapi"].startswith(str(venv))
    assert "sample/src/editable_sample" in seen["editable"]
    for method in ("spawn", "forkserver", "fork"):
        assert seen[method] == [2, 4, 6]
    return seen
