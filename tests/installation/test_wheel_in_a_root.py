"""The wheel on a machine with Python and pip, and without anything that builds."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.health import Slack
from harness.plugin import Serve
from harness.python_server import PythonServer
from harness.roots import MakeRoot, Root
from harness.sites import FLASK, SITES, Site, install
from harness.source import ASGI, Source, await_version

pytestmark = pytest.mark.timeout(900)

PYTHON = "/opt/venv/bin/python"
CADDYSNAKE = "/opt/venv/bin/caddysnake"


@pytest.fixture(scope="module")
def root(make_root: MakeRoot, wheel: Path) -> Root:
    root = make_root("python3", "python3-venv")
    root.run("python3", "-m", "venv", "/opt/venv")
    file = root.add(wheel, f"/root/{wheel.name}")
    root.run(PYTHON, "-m", "pip", "install", "--no-index", file)
    install(root, PYTHON, *SITES)
    return root


def test_nothing_that_builds_is_there(root: Root) -> None:
    assert [name for name in ("cc", "gcc", "go", "make", "ld") if root.has(name)] == []


@pytest.mark.parametrize("site", SITES, ids=lambda site: site.name)
def test_an_app_is_served_in_one_command(root: Root, tmp_path: Path, site: Site) -> None:
    launcher = root.command(CADDYSNAKE)
    with PythonServer(tmp_path, *site.arguments, cwd=tmp_path, launcher=launcher) as server:
        site.check(server.port)
        assert site.app in server.greeting
        server.stop()


def test_an_activated_environment_and_the_current_directory_are_enough(
    root: Root, tmp_path: Path
) -> None:
    launcher = root.command(CADDYSNAKE, cwd=FLASK.folder)
    with PythonServer(tmp_path, FLASK.app, cwd=tmp_path, launcher=launcher) as server:
        FLASK.check(server.port)
        server.stop()


@pytest.fixture
def caddy(root: Root, tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Caddy's commands, for configurations that the harness writes."""
    ours = tmp_path_factory.getbasetemp()
    return root.command(CADDYSNAKE, shared={str(ours): ours})


def test_a_caddyfile_is_served_and_reloaded(serve: Serve, caddy: list[str]) -> None:
    # Django's own threads stay until the process ends.
    slack = Slack(threads=20, python_threads=10, descriptors=8)
    server = serve(FLASK.body(), launcher=caddy, canary=False, slack=slack)
    FLASK.check(server.port)
    for site in (*SITES, FLASK):
        done = server.reload(site.body())
        assert done.returncode == 0, done.stderr
        site.check(server.port)


def test_a_saved_file_is_served(serve: Serve, root: Root, caddy: list[str]) -> None:
    site = Site("edited", "edited:app", {})
    source = Source(root.host_path(site.folder), ASGI)
    server = serve(site.body("autoreload"), launcher=caddy, canary=False)
    await_version(server, "1")
    source.write("2")
    await_version(server, "2")
