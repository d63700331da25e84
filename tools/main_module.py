"""Builds one of our commands from a Go module of its own, in which the plugin is a dependency.

This is what xcaddy does: only a dependency has a version, which `list-modules --versions` shows.
The checkout stands in for the released module by a `replace`.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path

PLUGIN = "github.com/caddysnake/caddysnake"
CADDY = "github.com/caddyserver/caddy/v2"
TAGS = ("nobadger", "nomysql", "nopgx")


def go_version(version: str) -> str:
    """The version of a Python distribution in Go's form: 1.2.3.dev4+gabc -> v1.2.3-dev.4.gabc."""
    release, _, local = version.partition("+")
    match = re.fullmatch(r"(\d+\.\d+\.\d+)(?:\.?([a-z]+)(\d+))?", release)
    if match is None:
        raise ValueError(f"{version} is not of the form 1.2.3, with or without a suffix like .dev4")
    suffixes = [part for part in (match[2], match[3], local) if part]
    return f"v{match[1]}" + ("-" + ".".join(suffixes) if suffixes else "")


def write(directory: Path, root: Path, command: str, version: str) -> None:
    """Makes `directory` a main module of the sources in `root`/cmd/`command`.

    What is built there names the replacement, so that is a link: the checkout's path is nobody's
    business.
    """
    for source in (root / "cmd" / command).iterdir():
        if source.suffix in (".go", ".c", ".h"):
            shutil.copy(source, directory)
    shutil.copy(root / "go.sum", directory)
    module = (root / "go.mod").read_text()
    module = module.replace(f"module {PLUGIN}\n", f"module {command}\n", 1)
    module += f"\nrequire {PLUGIN} {go_version(version)}\n\nreplace {PLUGIN} => ./checkout\n"
    (directory / "checkout").symlink_to(root)
    (directory / "go.mod").write_text(module)


def build(
    root: Path,
    command: str,
    version: str,
    target: Path,
    *,
    name: str,
    python: str,
    tags: Sequence[str] = (),
    flags: Sequence[str] = (),
) -> None:
    """Builds `root`/cmd/`command` for release, without a trace of where it was built.

    Args:
        version: that of the plugin, in the form of Python's packages.
        target: the file to write.
        name: what the command calls itself.
        python: the interpreter to build against.
        tags: build tags beside those that every build of ours has.
        flags: further flags of `go build`.

    Raises:
        subprocess.CalledProcessError: Go has said why.
    """
    settings = {"CustomVersion": f"caddysnake {version}", "CustomBinaryName": name}
    link = [f"-X '{CADDY}.{variable}={value}'" for variable, value in settings.items()]
    environment = {
        **os.environ,
        "CGO_ENABLED": "1",
        "PKG_CONFIG": str(root / "tools" / "pkg-config"),
        "CADDYSNAKE_PYTHON": python,
    }
    with tempfile.TemporaryDirectory() as directory:
        write(Path(directory), root, command, version)
        line = [
            os.environ.get("GO", "go"),
            "build",
            "-buildvcs=false",
            "-trimpath",
            f"-tags={','.join([*tags, *TAGS])}",
            f"-ldflags=-s -w {' '.join(link)}",
            *flags,
            f"-o={target}",
        ]
        print("+", shlex.join(line), flush=True)
        subprocess.run(line, cwd=directory, env=environment, check=True)
