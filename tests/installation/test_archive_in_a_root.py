"""The standalone archive on a minimal Debian, without a Python and without anything that builds."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from harness.plugin import Serve
from harness.roots import MakeRoot, Root
from harness.sites import install, reload_to_each, serve_each

pytestmark = pytest.mark.timeout(900)

ARCHIVE = Path(os.environ["CADDYSNAKE_ARCHIVE"])
FOLDER = "/opt/caddysnake"
CADDY = "/usr/local/bin/caddy"
VENV = "/srv/venv"


@pytest.fixture(scope="module")
def root(make_root: MakeRoot) -> Root:
    root = make_root()
    root.host_path(FOLDER).mkdir()
    unpack = ["tar", "-xf", str(ARCHIVE), "-C", str(root.host_path(FOLDER))]
    subprocess.run([*unpack, "--strip-components=1"], check=True)
    root.host_path(CADDY).symlink_to(f"{FOLDER}/bin/caddy")
    root.run(f"{FOLDER}/bin/python3", "-m", "venv", VENV)
    install(root, f"{VENV}/bin/python")
    return root


def test_neither_a_python_nor_anything_that_builds_is_there(root: Root) -> None:
    assert [name for name in ("python3", "cc", "gcc", "go", "make", "ld") if root.has(name)] == []


def test_flask_django_and_fastapi_are_served_in_one_command(root: Root, tmp_path: Path) -> None:
    serve_each(root.command(CADDY), tmp_path, VENV)


def test_a_caddyfile_is_served_and_reloaded(
    serve: Serve, root: Root, ours: dict[str, Path]
) -> None:
    reload_to_each(serve, root.command(CADDY, shared=ours), VENV)
