"""Builds one of our commands in a temporary Go module that depends on the plugin, as xcaddy does.

Go records versions of dependencies only, and `list-modules --versions` shows them. A `replace`
directive substitutes the checkout for the released module.
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
    """Converts the version of a Python distribution: 1.2.3.dev4+gabc -> v1.2.3-dev.4.gabc.

    Raises:
        ValueError: the version has another form.
    """
    release, _, local = version.partition("+")
    match = re.fullmatch(r"(\d+\.\d+\.\d+)(?:\.?([a-z]+)(\d+))?", release)
    if match is None:
        raise ValueError(f"{version} is not of the form 1.2.3, with or without a suffix like .dev4")
    suffixes = [part for part in (match[2], match[3], local) if part]
    return f"v{match[1]}" + ("-" + ".".join(suffixes) if suffixes else "")


def write(directory: Path, root: Path, command: str, version: str) -> None:
    """Writes a main module with the sources of `root`/cmd/`command` to `directory`.

    The binary records the path of the replacement: that of a symbolic link, relative to the module,
    so that the path of the checkout is not disclosed.
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
    """Builds `root`/cmd/`command` for release. The binary contains no paths of this machine.

    Args:
        root: the folder of the sources.
        command: the folder below cmd/.
        version: the plugin's version, in the form of a Python distribution.
        target: the file to write.
        name: the name that the command prints in its help.
        python: the interpreter to build against.
        tags: build tags in addition to `TAGS`.
        flags: further flags of `go build`.

    Raises:
        subprocess.CalledProcessError: the build failed; Go has printed why.
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
