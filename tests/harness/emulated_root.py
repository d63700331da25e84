"""A Debian root of another machine: QEMU runs its programs, and make works on this repository.

`python -m harness.emulated_root aarch64 make wheel` executes the command in the root and ends with
its exit code. Only Go is this machine's: it compiles for the other one at full speed.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from harness.python_roots import TOOLS, run
from harness.roots import CACHE, DEBIAN_NAMES, MACHINE, OLDER, Root, new_folder, obstacle
from harness.settings import REPOSITORY

# Files that are built on the older release run on the newer one, too.
RELEASE = OLDER
PACKAGES = (*TOOLS, "git", "python3-dev", "python3-venv")
# What is built for a machine must not take the place of what is built for another.
OWN_FOLDERS = (".tools", "bin", "build")


def own_folders(machine: str) -> dict[str, Path]:
    """The folders that a root of this machine has instead of the repository's."""
    return {str(REPOSITORY / name): CACHE / f"built_{machine}" / name for name in OWN_FOLDERS}


def refusal(machine: str) -> str | None:
    """Why this machine can't be emulated here."""
    if machine == MACHINE or machine not in DEBIAN_NAMES:
        return f"{machine} is not a machine to emulate on {MACHINE}"
    return obstacle(machine)


@contextmanager
def emulated_root(machine: str) -> Iterator[Root]:
    """A root as new as if it was just made."""
    print(f"A root of Debian's {RELEASE} emulates {machine}.", flush=True)
    with (
        new_folder() as folder,
        Root(folder / RELEASE, *PACKAGES, release=RELEASE, machine=machine) as root,
    ):
        yield root


def main(machine: str, *command: str) -> int | str:
    """What it returns is for `sys.exit`."""
    refused = refusal(machine)
    if refused:
        return refused
    with emulated_root(machine) as root:
        return run(root, list(command), {"GOARCH": DEBIAN_NAMES[machine]}, own_folders(machine))


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
