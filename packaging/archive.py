"""Builds the standalone archive: a relocatable folder with Caddy and Python.

`make archive` runs this script with the Python that the archive will contain. See
docs/decisions/0040.
"""

from __future__ import annotations

import hashlib
import os
import platform
import shutil
import sys
import tarfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tools"))

import elf  # noqa: E402
import interpreter  # noqa: E402
import licenses  # noqa: E402
import main_module  # noqa: E402  (in tools/)
from version import git, version  # noqa: E402


def build(target: Path, number: str, go: str) -> None:
    """Fills the folder `target` with the contents of the archive."""
    binary = target / "bin" / "caddy"
    main_module.build(ROOT, "caddy", number, binary, name="caddy", python=sys.executable)
    stdlib = interpreter.copy(target)
    libraries = elf.libraries(elf.files(target))
    (target / "lib").mkdir(exist_ok=True)
    for name, library in libraries.items():
        shutil.copy(library, target / "lib" / name)
    for path in elf.files(target):
        # Only executables need a search path: it also applies to the libraries that they load.
        elf.set_search_path(path, "$ORIGIN/../lib" if path.parent == target / "bin" else None)
        if path != binary:
            elf.strip(path)
    check(target)
    interpreter.compile_modules(target, stdlib)
    interpreter.install_pip(target, stdlib)
    shutil.copy(ROOT / "LICENSE", target)
    licenses.collect(target / "licenses", ROOT, stdlib, libraries.values(), go)


def check(target: Path) -> None:
    """Exits with a message if a library would be missing on a machine that only has glibc."""
    inside = {path.name for path in (target / "lib").iterdir()}
    for path in elf.files(target):
        missing = {name for name in elf.needed(path) - inside if not elf.GLIBC.fullmatch(name)}
        if missing:
            sys.exit(f"{path} needs {', '.join(sorted(missing))}")


def moment() -> int:
    """Returns the modification time of all files in the archive, for reproducible builds."""
    return int(os.environ.get("SOURCE_DATE_EPOCH") or git(ROOT, "log", "-1", "--format=%ct") or 0)


def pack(folder: Path, archive: Path) -> None:
    """Packs the folder reproducibly, and writes the checksum into a file next to the archive."""
    time = moment()

    def anonymous(entry: tarfile.TarInfo) -> tarfile.TarInfo:
        entry.uid = entry.gid = 0
        entry.uname = entry.gname = "root"
        entry.mtime = time
        entry.mode = 0o755 if entry.mode & 0o100 else 0o644
        return entry

    with tarfile.open(archive, "w:xz", preset=9) as tar:
        tar.add(folder, folder.name, filter=anonymous)  # sorted by name
    checksum = hashlib.sha256(archive.read_bytes()).hexdigest()
    archive.with_name(f"{archive.name}.sha256").write_text(f"{checksum}  {archive.name}\n")


def size(folder: Path) -> int:
    paths = [path for path in folder.rglob("*") if not path.is_symlink()]
    return sum(path.stat().st_size for path in paths if path.is_file())


def main() -> None:
    number = version(ROOT)
    name = f"caddysnake-{number}-linux-{platform.machine()}"
    folder = ROOT / "build" / "archive" / name
    shutil.rmtree(folder.parent, ignore_errors=True)
    (folder / "bin").mkdir(parents=True)
    build(folder, number, os.environ.get("GO", "go"))
    archive = ROOT / "dist" / f"{name}.tar.xz"
    archive.parent.mkdir(exist_ok=True)
    pack(folder, archive)
    major, minor = elf.glibc_version(elf.files(folder))
    print(
        f"{archive.relative_to(ROOT)}: {archive.stat().st_size / 1e6:.0f} MB,"
        f" {size(folder) / 1e6:.0f} MB unpacked; Python {platform.python_version()};"
        f" needs glibc {major}.{minor} or newer"
    )


if __name__ == "__main__":
    main()
