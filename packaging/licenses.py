"""Collects the licences of everything in the archive."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

import elf

PATTERN = re.compile(r"(licen[sc]e|copying|notice)", re.IGNORECASE)
COMMON = Path("/usr/share/common-licenses")


def collect(target: Path, root: Path, stdlib: Path, libraries: Iterable[Path], go: str) -> None:
    """Copies all licences to the folder `target`; exits with a message if one is missing.

    Args:
        target: the folder to fill.
        root: the folder of the sources.
        stdlib: the folder of Python's standard library.
        libraries: the original paths of the shared libraries.
        go: the go command.
    """
    if (stdlib / "LICENSE.txt").exists():  # otherwise it comes with the package of libpython
        _copy([stdlib / "LICENSE.txt"], target / "python")
    for library in libraries:
        if not library.is_relative_to(sys.base_prefix) or sys.base_prefix == "/usr":
            _of_library(library.resolve(), target)
    _copy(_named(Path(elf.run(go, "env", "GOROOT").strip())), target / "go" / "go")
    form = "{{with .Module}}{{if not .Main}}{{.Path}} {{.Dir}}{{end}}{{end}}"
    listed = elf.run(go, "-C", root, "list", "-deps", "-f", form, "./cmd/caddy")
    for line in sorted(set(filter(None, listed.splitlines()))):
        module, _, folder = line.partition(" ")
        _copy(_named(Path(folder)), target / "go" / module)


def _named(folder: Path) -> list[Path]:
    return [
        path for path in sorted(folder.iterdir()) if PATTERN.match(path.name) and path.is_file()
    ]


def _copy(licenses: list[Path], target: Path) -> None:
    if not licenses:
        sys.exit(f"no licence found for {target.name}")
    target.mkdir(parents=True, exist_ok=True)
    for path in licenses:
        shutil.copyfile(path, target / path.name)


def _of_library(library: Path, target: Path) -> None:
    """Copies the licence from the distribution's package of the library."""
    package = _ask("dpkg", "--search", f"*/{library.name}").partition(":")[0]
    if package:
        copyright_file = Path("/usr/share/doc", package, "copyright")
        _copy([copyright_file], target / package)
        names = re.findall(rf"{COMMON}/([\w.-]*\w)", copyright_file.read_text())
        _copy([COMMON / name for name in sorted(set(names))] or [copyright_file], target / package)
        return
    package = _ask("rpm", "--query", "--file", "--queryformat", "%{NAME}", str(library))
    folder = Path("/usr/share/licenses", package)
    _copy(_named(folder) if package and folder.is_dir() else [], target / (package or library.name))


def _ask(*command: str) -> str:
    """Returns the output of a command; an empty string if it fails or does not exist."""
    try:
        done = subprocess.run(command, capture_output=True, text=True)
    except OSError:
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""
