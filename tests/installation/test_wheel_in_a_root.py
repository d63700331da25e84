"""The wheel on an older Debian with Python and pip, and without anything that builds."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.plugin import Serve
from harness.python_server import PythonServer
from harness.roots import HOME, OLDER, MakeRoot, Root
from harness.sites import FLASK, Site, install, reload_to_each, serve_each
from harness.source import ASGI, Source, await_version

pytestmark = pytest.mark.timeout(900)

PYTHON = "/opt/venv/bin/python"
CADDYSNAKE = "/opt/venv/bin/caddysnake"


@pytest.fixture(scope="module")
def root(make_root: MakeRoot, wheel: Path) -> Root:
    root = make_root("python3", "python3-venv", release=OLDER)
    root.run("python3", "-m", "venv", "/opt/venv")
    file = root.add(wheel, f"{HOME}/{wheel.name}")
    root.run(PYTHON, "-m", "pip", "install", "--no-index", file)
    install(root, PYTHON)
    return root


def test_nothing_that_builds_is_there(root: Root) -> None:
    assert [name for name in ("cc", "gcc", "go", "make", "ld") if root.has(name)] == []


def test_flask_django_and_fastapi_are_served_in_one_command(root: Root, tmp_path: Path) -> None:
    serve_each(root.command(CADDYSNAKE), tmp_path)


def test_an_activated_environment_and_the_current_directory_are_enough(
    root: Root, tmp_path: Path
) -> None:
    launcher = root.command(CADDYSNAKE, cwd=FLASK.folder)
    with PythonServer(tmp_path, FLASK.app, cwd=tmp_path, launcher=launcher) as server:
        FLASK.check(server.port)
        server.stop()


def test_a_caddyfile_is_served_and_reloaded(
    serve: Serve, root: Root, ours: dict[str, Path]
) -> None:
    reload_to_each(serve, root.command(CADDYSNAKE, shared=ours))


def test_a_saved_file_is_served(serve: Serve, root: Root, ours: dict[str, Path]) -> None:
    site = Site("edited", "edited:app", {})
    source = Source(root.host_path(site.folder), ASGI)
    launcher = root.command(CADDYSNAKE, shared=ours)
    server = serve(site.body("autoreload"), launcher=launcher, canary=False)
    await_version(server, "1")
    source.write("2")
    await_version(server, "2")
