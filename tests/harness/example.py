"""A folder of examples/: a copy of it, served with its own Caddyfile, and what its README shows."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from harness.health import EXECUTORS, LATE_APPS, Slack
from harness.ports import HOST
from harness.server import Server
from harness.settings import REPOSITORY, VENV

EXAMPLES = REPOSITORY / "examples"
# The image has the packages in the server's own Python.
PACKAGES = {"PYTHONPATH": str(next(VENV.glob("lib/python3.*/site-packages")))}
# Arguments of `serve` that differ.
OPTIONS: dict[str, dict[str, Any]] = {
    "compose": {"env": PACKAGES},
    "django": {"slack": EXECUTORS},
    "fastapi": {"slack": EXECUTORS},
    "kubernetes": {"env": PACKAGES, "slack": Slack(children=4, descriptors=40, threads=24)},
    "monitoring": {"slack": Slack(children=4, descriptors=40, threads=24)},
    "workers": {"slack": Slack(children=4, descriptors=40, threads=24)},
    "tenants-by-path": {"slack": LATE_APPS},
    "tenants-by-subdomain": {"slack": LATE_APPS},
    "tenants-with-autoreload": {"slack": LATE_APPS},
}
# What a user's own tries leave in the folder; .gitignore names it as well.
LEFTOVERS = shutil.ignore_patterns(
    ".venv", "__pycache__", "instance", "staticfiles", "*.sqlite3", "*.pyc"
)
CONSOLE = re.compile(r"^```console\n(.*?)^```$", re.MULTILINE | re.DOTALL)
# The ports of examples; a test has others.
PORT = re.compile(r":(?:9080|8080)\b")
INNER = re.compile(r":9090\b")


def copy_example(name: str, directory: Path) -> Path:
    """The environment of the tests takes the place of the one that the README makes."""
    folder = directory / name
    shutil.copytree(EXAMPLES / name, folder, ignore=LEFTOVERS)
    (folder / ".venv").symlink_to(VENV)
    return folder


@dataclass(frozen=True)
class Step:
    """A command in the README, and what it prints: `…` stands for anything, on a line of its own
    for any lines."""

    command: str
    output: str

    def allows(self, output: str) -> bool:
        lines = [
            r"(?:.*\n)*" if line == "…" else re.escape(line).replace("…", ".*") + r"\n"
            for line in self.output.rstrip("\n").split("\n")
        ]
        return re.fullmatch("".join(lines), output.rstrip("\n") + "\n") is not None


def steps_of(readme: Path) -> list[Step]:
    found = []
    for block in CONSOLE.findall(readme.read_text()):
        for part in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
            command, _, output = part.partition("\n")
            found.append(Step(command, output))
    return found


class Example(Server):
    """`serve(name, kind=Example)`: of its Caddyfile, only the address is another one."""

    def __init__(
        self,
        directory: Path,
        names: Sequence[str],
        *,
        env: Mapping[str, str] | None = None,
        **options: Any,
    ) -> None:
        (self.name,) = names
        self.folder = copy_example(self.name, directory)
        # Clients that honour a proxy must not send it what is for the server.
        env = {"no_proxy": "*", **(env or {})}
        super().__init__(
            directory, names, env=env, canary=False, cwd=self.folder, probe=None, **options
        )
        self._env["CADDY_ADMIN"] = f"{HOST}:{self.admin}"

    @cached_property
    def inner(self) -> int:
        """The port in place of 9090, which is for the cluster alone."""
        return self._reserved.take()

    def write(self, *bodies: str) -> Path:
        text = (EXAMPLES / self.name / "Caddyfile").read_text()
        if "bind" not in text:  # Ports of tests are reserved on loopback alone.
            text = text.replace(":8080 {", f":8080 {{\n\tbind {HOST}")
        if ":9090 {" in text:
            text = text.replace(":9090 {", f":{self.inner} {{\n\tbind {HOST}")
        return self.write_text(PORT.sub(f":{self.port}", text))

    def run(self, command: str) -> str:
        """What a user's command prints on standard output, in the copied folder."""
        done = subprocess.run(
            [
                "bash",
                "-c",
                INNER.sub(lambda _: f":{self.inner}", PORT.sub(f":{self.port}", command)),
            ],
            cwd=self.folder,
            env={**self._env, "PATH": os.environ["PATH"]},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}"
        return done.stdout.replace(f":{self.port}", ":9080")

    def follow_readme(self) -> Iterator[Step]:
        """Runs its commands one after the other; each must print what the README says."""
        for step in steps_of(self.folder / "README.md"):
            output = self.run(step.command)
            assert step.allows(output), f"{step.command}\n{output}\n--- expected\n{step.output}"
            yield step
