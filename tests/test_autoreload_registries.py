"""Autoreload of code that registers something in a package: the next generation does so again."""

from __future__ import annotations

from importlib.machinery import EXTENSION_SUFFIXES
from pathlib import Path

import pytest

from harness.plugin import Serve
from harness.source import FAILED, Source, await_reloads, await_version, put
from harness.tenants import install, make_venv

REGISTRY = """
NAMES = set()

def register(name):
    if name in NAMES:
        raise ValueError(f"Duplicated name: {{name}}")
    NAMES.add(name)
"""
NATIVE = f"unknown/speedups{EXTENSION_SUFFIXES[0]}"
CODE = """
import {package}

{package}.register("requests")
VERSION = "{version}"

def app(environ, start_response):
    start_response("200 OK", [])
    return [VERSION.encode()]
"""


def source(tmp_path: Path, package: str) -> Source:
    return Source(tmp_path / "site", CODE.replace("{package}", package))


@pytest.mark.smoke
@pytest.mark.parametrize(
    "name", ["prometheus-client", "loguru", "sqlmodel", "sanic", "marshmallow"]
)
def test_known_registries_are_each_generations_own(serve: Serve, tmp_path: Path, name: str) -> None:
    package = name.replace("-", "_")
    venv = make_venv(tmp_path / "venv")
    install(venv, name, "1.0", {f"{package}/__init__.py": REGISTRY.format()})
    edited = source(tmp_path, package)
    server = serve(edited.block(venv=venv))
    for version in ("2", "3"):
        edited.write(version)
        await_version(server, version)


@pytest.mark.in_process("new code has new packages")
@pytest.mark.parametrize(
    ("files", "cure"),
    [((), "`isolate unknown` gives each load"), ((NATIVE,), "can't be isolated")],
    ids=["python", "extension"],
)
def test_the_error_names_a_registry_that_nobody_knows(
    serve: Serve, tmp_path: Path, files: tuple[str, ...], cure: str
) -> None:
    venv = make_venv(tmp_path / "venv")
    more = dict.fromkeys(files, "")
    install(venv, "unknown", "1.0", {"unknown/__init__.py": REGISTRY.format(), **more})
    edited = source(tmp_path, "unknown")
    server = serve(edited.block(venv=venv))
    server.allow_log("could not be loaded")
    failure = server.expect_app_log(FAILED)
    edited.write("2")
    await_reloads(server, 1, FAILED)
    server.check()
    first = failure.records[0].fields["error"].partition("\n")[0]
    assert "unknown is shared and may still hold what the previous code registered" in first
    assert cure in first
    assert "ValueError: Duplicated name: requests" in failure.records[0].text


@pytest.mark.smoke
def test_isolation_cures_it(serve: Serve, tmp_path: Path) -> None:
    venv = make_venv(tmp_path / "venv")
    install(venv, "unknown", "1.0", {"unknown/__init__.py": REGISTRY.format()})
    edited = source(tmp_path, "unknown")
    server = serve(edited.block("isolate unknown", venv=venv))
    edited.write("2")
    await_version(server, "2")


def test_other_errors_are_as_they_are(serve: Serve, tmp_path: Path) -> None:
    edited = Source(tmp_path / "site")
    server = serve(edited.block())
    server.allow_log("could not be loaded")
    failure = server.expect_app_log(FAILED)
    put(edited.main, "raise ValueError('this is already broken')")
    await_reloads(server, 1, FAILED)
    server.check()
    assert "is shared" not in failure.records[0].text
