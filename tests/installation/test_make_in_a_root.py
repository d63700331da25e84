"""A clone on a machine with what docs/installation.md says that make needs, and nothing else."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from harness.container import Container
from harness.page import packages_for
from harness.plugin import Serve
from harness.roots import HOME, MakeRoot, Root, go_caches
from harness.settings import REPOSITORY
from harness.sites import install, reload_to_each, serve_each

pytestmark = pytest.mark.timeout(1800)

CLONE = f"{HOME}/caddysnake"


@pytest.fixture(scope="module")
def root(make_root: MakeRoot) -> Root:
    root = make_root(*packages_for("What is needed"))
    assert not root.has("go")
    clone = root.host_path(CLONE)
    subprocess.run(["git", "clone", "--quiet", str(REPOSITORY), str(clone)], check=True)
    shared = go_caches()
    root.run("make", "build", cwd=CLONE, fetching=True, shared=shared, timeout=1500)
    return root


def test_make_run_serves_the_example(root: Root, tmp_path: Path) -> None:
    """Without a network: what was built is complete, and make knows it."""
    with Container(root, tmp_path, "make", "run", cwd=CLONE, shared=go_caches()) as container:
        assert "Hello" in container.wait_for("http://127.0.0.1:9080/")
        assert container.wait_for("http://127.0.0.1:9080/countdown")


def test_flask_django_and_fastapi_are_served(
    serve: Serve, root: Root, ours: dict[str, Path], tmp_path: Path
) -> None:
    """By the binary alone, which is copied out of the clone, on an environment of the sites'."""
    caddy, venv = "/usr/local/bin/caddy", "/opt/venv"
    root.run("cp", f"{CLONE}/bin/caddy", caddy)
    root.run("rm", "-r", CLONE)
    root.run("python3", "-m", "venv", venv)
    install(root, f"{venv}/bin/python")
    serve_each(root.command(caddy), tmp_path, venv)
    reload_to_each(serve, root.command(caddy, shared=ours), venv)
