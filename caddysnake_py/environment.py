"""What the configuration says about an app's surroundings: virtual environments, env files."""

from __future__ import annotations

import dataclasses
import os
import re
import sys
from collections.abc import Mapping, Sequence

from caddysnake_py.loader import LoadError

_ASSIGNMENT = re.compile(r"\s*(?:export\s+)?([A-Za-z_][A-Za-z0-9_]*)\s*=\s*(.*?)\s*$")


@dataclasses.dataclass(frozen=True, slots=True)
class Venv:
    """A virtual environment.

    Attributes:
        site_packages: its directories that belong on ``sys.path``.
        sees_host: whether it was made with ``--system-site-packages``.
    """

    site_packages: tuple[str, ...]
    sees_host: bool


def read_venv(venv: str) -> Venv:
    """Returns what is to be known about a virtual environment.

    Args:
        venv: directory with a ``pyvenv.cfg`` (PEP 405).

    Raises:
        LoadError: it is not a virtual environment, or one of another Python version.
    """
    config_file = os.path.join(venv, "pyvenv.cfg")
    try:
        with open(config_file, encoding="utf-8") as file:
            pairs = (line.partition("=") for line in file)
            config = {key.strip().lower(): value.strip() for key, _, value in pairs}
    except OSError as error:
        raise LoadError(f"venv {venv}: not a virtual environment ({error})") from None
    running = f"{sys.version_info.major}.{sys.version_info.minor}"
    made_for = config.get("version_info") or config.get("version") or running
    if made_for.split(".")[:2] != running.split("."):
        raise LoadError(
            f"venv {venv} belongs to Python {made_for}, but Caddy runs Python "
            f"{sys.version.split()[0]}; make it anew with python{running} -m venv"
        )
    lib = os.path.join(venv, "lib", f"python{running}", "site-packages")
    if not os.path.isdir(lib):
        raise LoadError(f"venv {venv}: there is no {lib}")
    return Venv((lib,), config.get("include-system-site-packages", "").lower() == "true")


def read_env_file(path: str) -> dict[str, str]:
    """Parses ``NAME=value`` lines; ``#`` comments, ``export`` and quotes as a shell has them.

    Raises:
        LoadError: the file cannot be read, or a line is not an assignment.
    """
    values: dict[str, str] = {}
    try:
        with open(path, encoding="utf-8") as file:
            lines = file.read().splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise LoadError(f"env_file {path}: {error}") from None
    for number, line in enumerate(lines, 1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        match = _ASSIGNMENT.match(line)
        if not match:
            raise LoadError(f"env_file {path}, line {number}: not an assignment NAME=value")
        name, value = match.groups()
        if len(value) >= 2 and value[0] == value[-1] and value[0] in "'\"":
            value = value[1:-1]
        else:
            value = value.split(" #", 1)[0].rstrip()
        values[name] = value
    return values


def variables(env_files: Sequence[str], env: Mapping[str, str]) -> dict[str, str]:
    """Returns the variables of an app: later files win over earlier ones, ``env`` over all.

    Raises:
        LoadError: a file is not what it should be.
    """
    found: dict[str, str] = {}
    for path in env_files:
        found.update(read_env_file(path))
    found.update(env)
    return found
