"""A clone on a fresh Debian with the packages that README.md names, and nothing else.

Nothing is installed: make fetches Go, Go fetches and compiles Caddy, and pip fetches what the tests
need. All of it belongs to an ordinary user. The releases share the caches of Go, which are empty at
the first one.
"""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import pytest

from harness.container import Container
from harness.page import README, packages_in
from harness.plugin import Serve
from harness.roots import OLDER, RELEASE, MakeRoot, Root, go_caches
from harness.settings import REPOSITORY
from harness.sites import install, reload_to_each, serve_each

pytestmark = pytest.mark.timeout(2400)

USER = "developer"
HOME = f"/home/{USER}"
CLONE = f"{HOME}/caddysnake"
ORIGIN = "/srv/origin.git"
# A few tests of both interfaces, and of the suite's own tools.
SELECTION = "tests/test_dev.py tests/test_flask.py tests/test_docs.py tests/unit"


@dataclass
class Machine:
    """The root as its user sees it."""

    root: Root

    def run(self, *command: str, cwd: str = CLONE) -> str:
        return self.root.run(*command, cwd=cwd, timeout=2000, fetching=True, **self.user)

    @cached_property
    def first_test(self) -> str:
        """What the first `make test` prints."""
        return self.run("make", "test", f"ARGS={SELECTION}")

    @property
    def user(self) -> dict[str, Any]:
        """For `Root.command`."""
        return {"user": f"{USER}:", "env": {"HOME": HOME}, "shared": go_caches(HOME)}


@pytest.fixture(scope="module", params=[RELEASE, OLDER])
def machine(
    request: pytest.FixtureRequest, make_root: MakeRoot, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Machine]:
    root = make_root(*packages_in(README), release=request.param)
    assert [name for name in ("go", "pkg-config") if root.has(name)] == []
    root.run("useradd", "--create-home", USER)
    caches = go_caches(HOME)
    for path in (f"{HOME}/go", f"{HOME}/go/pkg", f"{HOME}/.cache", *caches):
        root.run("install", "--directory", f"--owner={USER}", path, shared=caches)
    origin = root.host_path(ORIGIN)
    subprocess.run(["git", "clone", "--quiet", "--bare", str(REPOSITORY), str(origin)], check=True)
    # git refuses repositories of other users.
    root.run("chown", "--recursive", f"{USER}:", ORIGIN)
    machine = Machine(root)
    machine.run("git", "clone", "--quiet", ORIGIN, CLONE, cwd=HOME)
    machine.run("make", "build")
    yield machine
    # The tests of one release at a time take enough of the disk.
    root.run("rm", "-r", HOME)


def test_make_run_serves_the_example(machine: Machine, tmp_path: Path) -> None:
    """Without a network, so that its port is free: what was built is complete, as make knows."""
    command = ["make", "run"]
    with Container(machine.root, tmp_path, *command, cwd=CLONE, **machine.user) as container:
        assert "Hello" in container.wait_for("http://127.0.0.1:9080/")
        assert container.wait_for("http://127.0.0.1:9080/countdown")


# On one release only: the tests take minutes, and the other one builds with the same commands.
newest = pytest.mark.parametrize("machine", [RELEASE], indirect=True)


@newest
def test_make_test_passes_and_says_what_it_left_out(machine: Machine) -> None:
    output = machine.first_test
    assert output.count("Left out: tests/test_autobahn.py") == 1
    assert re.search(r"^=+ \d\d+ passed(?:, \d+ warnings?)? in ", output, re.MULTILINE), output


@newest
def test_make_installs_nothing_for_a_second_time(machine: Machine) -> None:
    """Not even after a checkout, which gives files the time that it is."""
    assert "Installing tests/requirements.txt" in machine.first_test
    machine.run("touch", "tests/requirements.txt")
    assert "Installing" not in machine.run("make", "test", f"ARGS=--collect-only {SELECTION}")


def test_flask_django_and_fastapi_are_served(
    serve: Serve, machine: Machine, ours: dict[str, Path], tmp_path: Path
) -> None:
    """By the binary alone, which is copied out of the clone, on an environment of the sites'."""
    root = machine.root
    caddy, venv = "/usr/local/bin/caddy", "/opt/venv"
    root.run("cp", f"{CLONE}/bin/caddy", caddy)
    root.run("mv", CLONE, f"{CLONE}.gone")
    root.run("python3", "-m", "venv", venv)
    install(root, f"{venv}/bin/python")
    serve_each(root.command(caddy), tmp_path, venv)
    reload_to_each(serve, root.command(caddy, shared=ours), venv)
