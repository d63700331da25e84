"""A root directory with glibc, a shell, and no Python but the one under test."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

# What every machine has that packages from PyPI run on (PEP 600).
LIBRARIES = ("c", "m", "dl", "rt", "util", "pthread", "resolv", "gcc_s", "stdc++")

# Mounts are gone with the process. The folder cannot be written, not even by root.
ENTER = """
cd "$1"
mount --rbind /proc proc
mount --rbind /dev dev
mount --bind "$2" "./$3"
mount -o remount,bind,ro "./$3"
"""


class BareRoot:
    """The root, in a new directory `path`, in which the folder `product` is at PRODUCT.

    Takes root's rights, or user namespaces.
    """

    PRODUCT = "/opt/a place"

    def __init__(self, path: Path, product: Path) -> None:
        self.path = path
        self._product = product
        for folder in ("bin", "dev", "lib64", "proc", "srv", "tmp", f".{self.PRODUCT}"):
            (path / folder).mkdir(parents=True)
        shutil.copy("/bin/sh", path / "bin")
        listed = subprocess.check_output(["ldd", "/bin/sh"], text=True)
        loader = re.search(r"^\t(/\S+)", listed, re.MULTILINE)
        libc = re.search(r"libc\.so\.6 => (\S+)", listed)
        assert loader is not None
        assert libc is not None
        shutil.copy(loader[1], path / loader[1].lstrip("/"))
        libraries = Path(libc[1]).parent
        inside = path / libraries.relative_to("/")
        inside.mkdir(parents=True, exist_ok=True)
        for name in LIBRARIES:
            for library in libraries.glob(f"lib{name}.so.[0-9]"):
                shutil.copy(library, inside)

    def command(
        self, *arguments: str, cwd: str = "/srv", env: Mapping[str, str] | None = None
    ) -> list[str]:
        """The command that executes `arguments` inside, with no environment but `env`.

        It is the same process from beginning to end, so signals reach it.
        """
        namespaces = ["--mount"] if os.geteuid() == 0 else ["--mount", "--map-root-user"]
        chroot, env_command = shutil.which("chroot") or "/usr/sbin/chroot", "/usr/bin/env"
        pairs = [f"{name}={value}" for name, value in (env or {}).items()]
        enter = f'{ENTER}shift 3\ncd "{self.path}{cwd}"\nexec "$@"'
        inside = ["/bin/sh", "-c", 'cd "$0" && exec "$@"', cwd]
        return [
            *("unshare", *namespaces, "sh", "-ec", enter, "sh"),
            *(str(self.path), str(self._product), self.PRODUCT.lstrip("/")),
            *(env_command, "-i", *pairs, chroot, str(self.path), *inside, *arguments),
        ]

    def run(self, *arguments: str, **options: Any) -> str:
        """What a command prints that must succeed."""
        done = subprocess.run(
            self.command(*arguments, **options),
            capture_output=True,
            text=True,
            timeout=300,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout
