"""The plugin in a Caddy that xcaddy has built, next to another plugin, as the page says."""

from __future__ import annotations

import os
import re
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

from harness import http1
from harness.page import PAGE
from harness.python_server import PythonServer
from harness.pythons import DEBIANS, pythons
from harness.settings import APPS, REPOSITORY
from harness.xcaddy import PLUGIN, XCADDY, build_arguments

pytestmark = pytest.mark.timeout(1200)

GO = os.environ.get("GO", "go")
# What make sets for Go, and users of xcaddy don't have.
OF_MAKE = ("CADDYSNAKE_PYTHON", "CGO_ENABLED", "GOFLAGS", "PKG_CONFIG", "PKG_CONFIG_PATH")


@dataclass(frozen=True)
class Embedded:
    """A Python with a shared library."""

    path: str
    version: str
    prefix: str

    @classmethod
    def find(cls, path: str) -> Embedded | None:
        code = (
            "import platform, sys, sysconfig\n"
            "print(platform.python_version(), sys.base_prefix)\n"
            "print(sysconfig.get_config_var('Py_ENABLE_SHARED'))"
        )
        done = subprocess.run([path, "-c", code], capture_output=True, text=True, check=True)
        version, prefix, shared = done.stdout.split()
        return cls(path, version, prefix) if shared == "1" else None

    @property
    def settings(self) -> dict[str, str]:
        """The variables that the page has for a Python that is not the system's."""
        if self.path == str(DEBIANS):
            return {}
        lines = re.findall(r'^ +export (\w+)="?(.*?)"?$', PAGE, re.MULTILINE)
        assert {name for name, _ in lines} == {"PKG_CONFIG_PATH", "XCADDY_GO_BUILD_FLAGS"}
        return {name: value.replace("/path/to/python", self.prefix) for name, value in lines}


# Debian's comes last.
PYTHONS = [python for python in map(Embedded.find, pythons()) if python][-2:]


def environment(**settings: str) -> dict[str, str]:
    ours = {name: value for name, value in os.environ.items() if name not in OF_MAKE}
    return {**ours, **settings}


def test_debians_python_and_another_are_there() -> None:
    assert [python.path == str(DEBIANS) for python in PYTHONS] == [False, True]


@pytest.fixture(scope="module")
def xcaddy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("xcaddy")
    env = environment(GOBIN=str(directory), CGO_ENABLED="0")
    subprocess.run([GO, "install", XCADDY], env=env, check=True)
    return directory / "xcaddy"


@pytest.fixture(scope="module", params=PYTHONS, ids=lambda python: python.version)
def python(request: pytest.FixtureRequest) -> Embedded:
    return request.param


@pytest.fixture(scope="module")
def caddy(xcaddy: Path, python: Embedded) -> Path:
    binary = xcaddy.with_name(f"caddy-{python.version}")
    # In place of a build with -a; see the Makefile.
    apart = f"-gcflags={PLUGIN}=-I={python.version}"
    env = environment(CGO_ENABLED="1", GOFLAGS=apart, XCADDY_WHICH_GO=GO, TMPDIR=str(xcaddy.parent))
    subprocess.run(
        [xcaddy, *build_arguments(str(REPOSITORY), str(binary))],
        cwd=xcaddy.parent,
        env={**env, **python.settings},
        check=True,
        timeout=1100,
    )
    return binary


def test_both_plugins_are_in_it(caddy: Path) -> None:
    done = subprocess.run([caddy, "list-modules"], capture_output=True, text=True, check=True)
    assert {"http.handlers.python", "layer4"} <= set(done.stdout.split())


def test_it_serves(caddy: Path, python: Embedded, tmp_path: Path) -> None:
    arguments = ["python-server", "--app", "main:asgi"]
    cwd = APPS / "command_line"
    with PythonServer(tmp_path, *arguments, cwd=cwd, launcher=[str(caddy)]) as server:
        assert http1.request(server.port, "GET", "/").text == "from ASGI"
        assert f"Python {python.version})" in server.greeting
        server.stop()


@pytest.mark.parametrize(
    ("variable", "value", "message"),
    [
        ("CGO_ENABLED", "0", "set_CGO_ENABLED_to_1_and_install_gcc_and_python3_dev"),
        ("PKG_CONFIG_LIBDIR", "/nowhere", "python3-embed was not found"),
    ],
    ids=["cgo", "headers"],
)
def test_the_build_names_what_it_lacks(variable: str, value: str, message: str) -> None:
    done = subprocess.run(
        [GO, "build", "-o", os.devnull, "."],
        cwd=REPOSITORY,
        env=environment(**{variable: value}),
        capture_output=True,
        text=True,
    )
    assert done.returncode != 0
    assert message in done.stderr
