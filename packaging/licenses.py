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
    """Fills the folder `target`; exits with a message where a licence is missing.

    Args:
        root: the sources.
        stdlib: Python's.
        libraries: the shared libraries, where they were copied from.
        go: the command.
    """
    if (stdlib / "LICENSE.txt").exists():  # else it comes with the package of libpython
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
    """As the distribution's package has it."""
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
    """What the command prints; nothing where it fails or does not exist."""
    try:
        done = subprocess.run(command, capture_output=True, text=True)
    except OSError:
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""
