"""Applications that differ in nothing but what they are called, and environments for them."""

from __future__ import annotations

import shutil
import sys
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from harness.caddyfile import python
from harness.settings import APPS, VENV

NAMES = ("one", "two", "three")
ISOLATION = APPS / "isolation"


def site_packages(venv: Path) -> Path:
    (found,) = venv.glob("lib/python3.*/site-packages")
    return found


def make_venv(folder: Path, *, behind: Sequence[Path] = (), version: str = "") -> Path:
    """A virtual environment as far as Caddy and Python look at one; the site-packages of those
    `behind` are on its path."""
    version = version or site_packages(VENV).parent.name.removeprefix("python")
    packages = folder / "lib" / f"python{version}" / "site-packages"
    packages.mkdir(parents=True)
    home = Path(sys.base_prefix, "bin")
    (folder / "pyvenv.cfg").write_text(
        f"home = {home}\nversion = {version}.1\ninclude-system-site-packages = false\n"
    )
    (folder / "bin").mkdir()
    (folder / "bin" / "python").symlink_to(home / f"python{version}")
    if behind:
        lines = "".join(f"{site_packages(venv)}\n" for venv in behind)
        (packages / "behind.pth").write_text(lines)
    return folder


def install(venv: Path, name: str, version: str, files: Mapping[str, str], *more: str) -> None:
    """Puts a distribution into an environment; `more` are further lines of its metadata."""
    packages = site_packages(venv)
    metadata = packages / f"{name}-{version}.dist-info"
    shutil.rmtree(metadata, ignore_errors=True)
    metadata.mkdir()
    lines = ["Metadata-Version: 2.1", f"Name: {name}", f"Version: {version}", *more]
    (metadata / "METADATA").write_text("\n".join(lines) + "\n")
    (metadata / "RECORD").write_text("".join(f"{file},,\n" for file in files))
    write(packages, files)


def write(folder: Path, files: Mapping[str, str]) -> None:
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)


def copies(source: Path, target: Path, names: Sequence[str] = NAMES) -> list[Path]:
    """A copy of the folder for each name, with that in its module `name`."""
    folders = []
    for name in names:
        folder = target / name
        shutil.copytree(source, folder, ignore=shutil.ignore_patterns("__pycache__"))
        (folder / "name.py").write_text(f'NAME = "{name}"\n')
        folders.append(folder)
    return folders


def tenants(target: Path) -> list[Path]:
    """Copies of the app that checks how modules are found."""
    folders = copies(ISOLATION / "tenant", target)
    for folder in folders:
        (folder / "parts" / "resource.txt").write_text(folder.name)
        with zipfile.ZipFile(folder / "archive.zip", "w") as archive:
            archive.writestr("zipped.py", "from name import NAME as NAME\n")
    return folders


def block(folder: Path, target: str, *options: str, interface: str, venv: Path | None) -> str:
    """A `python` block for a tenant, which finds its name in its environment as well."""
    named = [f"env_var TENANT {folder.name}", f"env_var TMPDIR {folder}", *options]
    return python(target, *named, interface=interface, folder=folder, venv=venv)
