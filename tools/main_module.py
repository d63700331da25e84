"""Writes a Go module around one of our commands, in which the plugin is a dependency.

This is what xcaddy does: only a dependency has a version, which `list-modules --versions` shows.
The checkout stands in for the released module by a `replace`.
"""

from __future__ import annotations

import re
import shutil
from pathlib import Path

PLUGIN = "github.com/caddysnake/caddysnake"


def go_version(version: str) -> str:
    """The version of a Python distribution in Go's form: 1.2.3.dev4+gabc -> v1.2.3-dev.4.gabc."""
    release, _, local = version.partition("+")
    match = re.fullmatch(r"(\d+\.\d+\.\d+)(?:\.?([a-z]+)(\d+))?", release)
    if match is None:
        raise ValueError(f"{version} is not of the form 1.2.3, with or without a suffix like .dev4")
    suffixes = [part for part in (match[2], match[3], local) if part]
    return f"v{match[1]}" + ("-" + ".".join(suffixes) if suffixes else "")


def write(directory: Path, root: Path, command: str, version: str) -> None:
    """Makes `directory` a main module of the sources in `root`/cmd/`command`."""
    for source in (root / "cmd" / command).iterdir():
        if source.suffix in (".go", ".c", ".h"):
            shutil.copy(source, directory)
    shutil.copy(root / "go.sum", directory)
    module = (root / "go.mod").read_text()
    module = module.replace(f"module {PLUGIN}\n", f"module {command}\n", 1)
    module += f'\nrequire {PLUGIN} {go_version(version)}\n\nreplace {PLUGIN} => "{root}"\n'
    (directory / "go.mod").write_text(module)
