"""Debian roots with the Pythons that this machine lacks, in which make works on this repository.

`python -m harness.python_roots 3.14 make smoke` executes the command in a root that has Python
3.14, and ends with its exit code. The root sees the repository, this machine's Go, and the caches
of Go and pip, each at its own path.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from harness.pythons import MINORS
from harness.roots import PATH, Root, new_folder, obstacle
from harness.settings import REPOSITORY

# Debian's release for each Python. No release has 3.10 or 3.12.
RELEASES = {"3.11": "bookworm", "3.13": "trixie", "3.14": "sid", "3.15": "sid"}
# What make needs besides a Python.
TOOLS = ("gcc", "libc6-dev", "make")


def packages(release: str) -> list[str]:
    """One root serves every Python that comes from this release."""
    minors = [minor for minor in MINORS if RELEASES.get(minor) == release]
    pythons = [f"python{minor}-{part}" for minor in minors for part in ("dev", "venv")]
    return [*TOOLS, *pythons]


def go_folders() -> dict[str, str]:
    """The folders of this machine's Go, by the variables that name them."""
    names = ["GOROOT", "GOCACHE", "GOMODCACHE"]
    command = [os.environ.get("GO", "go"), "env", *names]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=True)
    return dict(zip(names, done.stdout.splitlines(), strict=True))


def pip_cache() -> str:
    command = [sys.executable, "-m", "pip", "cache", "dir"]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


def run(
    root: Root,
    command: list[str],
    env: Mapping[str, str] | None = None,
    instead: Mapping[str, Path] | None = None,
) -> int:
    """Executes the command on the repository in this root; its exit code.

    env: further variables.
    instead: folders that are others in the root.
    """
    folders = {**go_folders(), "PIP_CACHE_DIR": pip_cache()}
    go_bin = f"{folders.pop('GOROOT')}/bin"
    same = [str(REPOSITORY), str(Path(go_bin).parent), *folders.values()]
    shared = {**{folder: Path(folder) for folder in same}, **(instead or {})}
    for target, folder in shared.items():
        Path(target).mkdir(parents=True, exist_ok=True)
        folder.mkdir(parents=True, exist_ok=True)
    inside = root.command(
        *command,
        cwd=str(REPOSITORY),
        env={**folders, "PATH": f"{go_bin}:{PATH}", **(env or {})},
        shared=shared,
        fetching=True,
    )
    return subprocess.run(inside, stdin=subprocess.DEVNULL).returncode


def main(minor: str, *command: str) -> int | str:
    """What it returns is for `sys.exit`."""
    if minor not in RELEASES:
        return f"Python {minor} is missing, and no Debian has it: pyenv install {minor}"
    missing = obstacle()
    if missing:
        return missing
    release = RELEASES[minor]
    print(f"Python {minor} comes from a root of Debian's {release}.", flush=True)
    with (
        new_folder() as folder,
        Root(folder / release, *packages(release), release=release) as root,
    ):
        return run(root, list(command))


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
