"""Reads and changes ELF files with ldd, binutils and patchelf."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterable, Iterator
from pathlib import Path

# The libraries of glibc: every system has them, and they only work with the system's own loader.
GLIBC = re.compile(
    r"(ld-linux[\w-]*|lib(anl|c|dl|m|mvec|pthread|resolv|rt|util))\.so\.\d+|linux-vdso\.so\.1"
)


def run(*command: str | Path) -> str:
    return subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout


def files(folder: Path) -> Iterator[Path]:
    """Yields the ELF files below the folder."""
    for path in sorted(folder.rglob("*")):
        if path.is_file() and not path.is_symlink():
            with path.open("rb") as file:
                if file.read(4) == b"\x7fELF":
                    yield path


def libraries(paths: Iterable[Path]) -> dict[str, Path]:
    """Returns the shared libraries that the files need, except glibc: name -> path.

    Raises:
        FileNotFoundError: a library is missing on this machine.
    """
    found = {}
    for path in paths:
        for name, target in re.findall(
            r"^\t(\S+) => (.+?)(?: \(0x\w+\))?$", run("ldd", path), re.M
        ):
            if GLIBC.fullmatch(name):
                continue
            if target == "not found":
                raise FileNotFoundError(f"{path} needs {name}, which is not on this machine")
            found[name] = Path(target)
    return found


def set_search_path(path: Path, search_path: str | None) -> None:
    """Sets or removes (None) the DT_RPATH of a file, the loader's first search path.

    Unlike DT_RUNPATH, it also applies to indirect dependencies that have no search path.
    """
    change = ["--remove-rpath"] if search_path is None else ["--set-rpath", search_path]
    run("patchelf", "--force-rpath", *change, path)


def strip(path: Path) -> None:
    run("strip", "--strip-unneeded", path)


def needed(path: Path) -> set[str]:
    """Returns the names of the libraries that the file needs directly."""
    return set(re.findall(r"^  NEEDED +(\S+)$", run("objdump", "-p", path), re.M))


def glibc_version(paths: Iterable[Path]) -> tuple[int, int]:
    """Returns the oldest version of glibc that has all symbols that the files need."""
    return max(
        (int(major), int(minor))
        for path in paths
        for major, minor in re.findall(r" GLIBC_(\d+)\.(\d+)", run("objdump", "-p", path))
    )
