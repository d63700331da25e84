"""What an app finds around it: ``sys.path``, its virtual environment, ``os.environ``."""

from __future__ import annotations

import os
import re
import site
import sys
from collections.abc import Mapping, Sequence

from caddysnake_py.loader import LoadError

_ASSIGNMENT = re.compile(r"\s*(?:export\s+)?([A-Za-z_][A-Za-z0-9_]*)\s*=\s*(.*?)\s*$")


def site_packages(venv: str) -> list[str]:
    """Returns the directories of a virtual environment that belong on ``sys.path``.

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
    return [lib]


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


def apply(
    working_dir: str, venv: str | None, env_files: Sequence[str], env: Mapping[str, str]
) -> None:
    """Prepares the process for an app: ``working_dir`` first on ``sys.path``, then the
    virtual environment with its ``.pth`` files; the variables into ``os.environ``.

    Raises:
        LoadError: a directory or file of the configuration is not what it should be.
    """
    if not os.path.isdir(working_dir):
        raise LoadError(f"working_dir {working_dir}: no such directory")
    variables: dict[str, str] = {}
    for path in env_files:
        variables.update(read_env_file(path))
    variables.update(env)
    os.environ.update(variables)

    first = [working_dir]
    if venv:
        for directory in site_packages(venv):
            before = len(sys.path)
            site.addsitedir(directory)
            first += sys.path[before:]
            del sys.path[before:]
    for entry in reversed(first):
        if entry in sys.path:
            sys.path.remove(entry)
        sys.path.insert(0, entry)
