"""Tests of the wheel of another machine: only the server and its applications are emulated.

`python -m harness.emulated_tests aarch64 -m smoke` runs pytest with these arguments, after
`make install-wheel` in a root of that machine.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

from harness.emulated_root import emulated_root, own_folders, refusal
from harness.settings import REPOSITORY


def main(machine: str, *arguments: str) -> int | str:
    """What it returns is for `sys.exit`."""
    refused = refusal(machine)
    if refused:
        return refused
    own = own_folders(machine)
    tools = str(REPOSITORY / ".tools")
    found = list(own[tools].glob("*/wheel/bin/caddysnake"))
    if not found:
        return f"There is no wheel of {machine}: make smoke-{machine} builds it"
    server = Path(tools) / found[0].relative_to(own[tools])
    venvs = server.parents[2]
    venvs.mkdir(exist_ok=True)
    # The folder for tests comes first: it may contain the others.
    same = [Path(tempfile.gettempdir()), REPOSITORY]
    with emulated_root(machine) as root, tempfile.TemporaryDirectory() as folder:
        env = {
            "CADDYSNAKE_BIN": str(root.entrance(Path(folder, "caddysnake"), str(server))),
            "CADDYSNAKE_VENV": str(venvs / "tests"),
            "CADDYSNAKE_EMULATED": machine,
        }
        shared = {**{str(path): path for path in same}, **own}
        # Tests look into the environment, so pytest sees it where the server does.
        see = ["sh", "-ec", 'mount --bind "$0" "$1"; shift; exec "$@"']
        see += [str(found[0].parents[2]), str(venvs)]
        pytest = [sys.executable, "-m", "pytest", *arguments]
        command = root.mounted(*see, *pytest, shared=shared)
        return subprocess.run(command, cwd=REPOSITORY, env={**os.environ, **env}).returncode


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
