"""Reads the configured environment of an app: the virtual environment and variables."""

from __future__ import annotations

import dataclasses
import logging
import os
import sys
from collections.abc import Mapping, Sequence

from caddysnake_py import env_files, logs
from caddysnake_py.loader import LoadError


@dataclasses.dataclass(frozen=True, slots=True)
class Venv:
    """A virtual environment.

    Attributes:
        site_packages: its directories for ``sys.path``.
        sees_host: whether it was created with ``--system-site-packages``.
    """

    site_packages: tuple[str, ...]
    sees_host: bool


def check_directories(working_dir: str, python_path: Sequence[str], app: int) -> None:
    """Checks the directories of an app, and logs which of ``python_path`` do not exist.

    Raises:
        LoadError: there is no ``working_dir``.
    """
    if not os.path.isdir(working_dir):
        raise LoadError(f"working_dir {working_dir}: no such directory")
    for directory in python_path:
        if not os.path.isdir(directory):
            text = f"python_path {directory}: no such directory"
            logs.emit(logging.WARNING, "caddysnake", text, app)


def read_venv(venv: str) -> Venv:
    """Reads the configuration of a virtual environment.

    Args:
        venv: a directory with a ``pyvenv.cfg`` (PEP 405).

    Raises:
        LoadError: the directory is not a virtual environment, or belongs to another Python version.
    """
    running = f"{sys.version_info.major}.{sys.version_info.minor}"
    config_file = os.path.join(venv, "pyvenv.cfg")
    try:
        with open(config_file, encoding="utf-8") as file:
            pairs = (line.partition("=") for line in file)
            config = {key.strip().lower(): value.strip() for key, _, value in pairs}
    except OSError as error:
        raise LoadError(
            f"venv {venv}: not a virtual environment ({error}); make it with "
            f"python{running} -m venv {venv}"
        ) from None
    made_for = config.get("version_info") or config.get("version") or running
    if made_for.split(".")[:2] != running.split("."):
        raise LoadError(
            f"venv {venv} belongs to Python {made_for}, but Caddy runs Python "
            f"{sys.version.split()[0]}; recreate it with python{running} -m venv"
        )
    lib = os.path.join(venv, "lib", f"python{running}", "site-packages")
    if not os.path.isdir(lib):
        raise LoadError(f"venv {venv}: there is no {lib}")
    return Venv((lib,), config.get("include-system-site-packages", "").lower() == "true")


def variables(files: Sequence[str], env: Mapping[str, str]) -> dict[str, str]:
    """Returns the variables of an app. Later files override earlier ones; ``env`` overrides all.

    Raises:
        LoadError: a file cannot be read or parsed.
    """
    found: dict[str, str] = {}
    for path in files:
        found.update(env_files.read(path))
    found.update(env)
    return found
