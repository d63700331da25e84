"""What xcaddy does: a generated main module, a `replace`, its flags, and another plugin."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

import pytest

from harness import http1
from harness.python_server import PythonServer
from harness.settings import APPS, REPOSITORY

pytestmark = pytest.mark.timeout(1200)

PLUGIN = "github.com/caddysnake/caddysnake"
OTHER = "github.com/mholt/caddy-l4"
OTHER_VERSION = "v0.1.2"
GO = os.environ.get("GO", "go")
MAIN = f"""package main

import (
	caddycmd "github.com/caddyserver/caddy/v2/cmd"

	_ "github.com/caddyserver/caddy/v2/modules/standard"
	_ "{PLUGIN}"
	_ "{OTHER}"
)

func main() {{ caddycmd.Main() }}
"""


def go(directory: Path, *arguments: str) -> None:
    subprocess.run([GO, *arguments], cwd=directory, check=True, timeout=1000)


@pytest.fixture(scope="module")
def caddy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("xcaddy")
    (directory / "main.go").write_text(MAIN)
    version = re.search(r"caddyserver/caddy/v2 (v\S+)", (REPOSITORY / "go.mod").read_text())
    assert version is not None
    go(directory, "mod", "init", "caddy")
    go(directory, "mod", "edit", f"-replace={PLUGIN}={REPOSITORY}")
    go(
        directory,
        "get",
        f"github.com/caddyserver/caddy/v2@{version[1]}",
        f"{OTHER}@{OTHER_VERSION}",
    )
    go(directory, "mod", "tidy", "-e")
    flags = ["-ldflags", "-w -s", "-trimpath", "-tags", "nobadger,nomysql,nopgx"]
    go(directory, "build", "-o", "caddy", *flags)
    return directory / "caddy"


def test_both_plugins_are_in_it(caddy: Path) -> None:
    done = subprocess.run([caddy, "list-modules"], capture_output=True, text=True, check=True)
    assert {"http.handlers.python", "layer4"} <= set(done.stdout.split())


def test_it_serves(caddy: Path, tmp_path: Path) -> None:
    arguments = ["python-server", "--app", "main:asgi"]
    cwd = APPS / "command_line"
    with PythonServer(tmp_path, *arguments, cwd=cwd, launcher=[str(caddy)]) as server:
        assert http1.request(server.port, "GET", "/").text == "from ASGI"


def test_without_cgo_the_build_says_what_to_do() -> None:
    done = subprocess.run(
        [GO, "build", "-o", os.devnull, "."],
        cwd=REPOSITORY,
        env={**os.environ, "CGO_ENABLED": "0"},
        capture_output=True,
        text=True,
    )
    assert done.returncode != 0
    assert "set_CGO_ENABLED_to_1_and_install_gcc_and_python3_dev" in done.stderr
