"""One wheel for every Python: `make test-wheel` builds it and runs these.

Each Python gets an environment with nothing but the wheel, and a second one for the application.
"""

from __future__ import annotations

import os
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from harness import http1, proc
from harness.background import start_reload_and_stop
from harness.python_server import PythonServer, run_in_vain
from harness.pythons import pythons
from harness.settings import APPS, REPOSITORY
from harness.venvs import SITE, make_app_venv, make_venv, serve_packaged

pytestmark = pytest.mark.timeout(600)

WHEEL = Path(os.environ["CADDYSNAKE_WHEEL"])
PYTHONS = pythons()


@dataclass(frozen=True)
class Installed:
    """The wheel in an environment of its own, beside that of an application."""

    bin: Path
    app_venv: Path
    version: str

    @property
    def script(self) -> str:
        return str(self.bin / "caddysnake")

    def run(self, *arguments: str, **options: Any) -> str:
        command = [self.script, *arguments]
        return subprocess.run(
            command, capture_output=True, text=True, check=True, timeout=60, **options
        ).stdout


@pytest.fixture(scope="module", params=PYTHONS, ids=lambda python: Path(python).name)
def installed(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Installed:
    directory = tmp_path_factory.mktemp("wheel")
    own = make_venv(request.param, directory / "own", str(WHEEL))
    app = make_app_venv(request.param, directory / "app")
    command = ["-c", "import platform; print(platform.python_version())"]
    done = subprocess.run([str(own / "python"), *command], capture_output=True, text=True)
    return Installed(own, app, done.stdout.strip())


def test_there_is_more_than_one_python_to_test_with() -> None:
    assert len(PYTHONS) > 1


def test_the_wheel_is_for_every_python_from_3_10_on() -> None:
    assert "-cp310-abi3-manylinux" in WHEEL.name


def test_the_version_is_that_of_the_wheel(installed: Installed) -> None:
    version = WHEEL.name.split("-")[1]
    assert installed.run("version").startswith(f"caddysnake {version} v2.")
    modules = installed.run("list-modules", "--versions", "--skip-standard")
    release, _, local = version.partition("+")
    handler = next(line for line in modules.splitlines() if "http.handlers.python" in line)
    assert local in handler
    assert f" v{release.partition('.dev')[0]}" in handler


def test_an_app_on_its_own_environment_starts_processes_in_every_way(
    installed: Installed, tmp_path: Path
) -> None:
    seen = serve_packaged([installed.script], installed.app_venv, tmp_path)
    assert seen["version"] == installed.version


@pytest.mark.parametrize(
    ("folder", "app"), [("flask_site", "flask_app:app"), ("command_line", "main:wsgi")]
)
def test_wsgi_apps_are_served(installed: Installed, tmp_path: Path, folder: str, app: str) -> None:
    arguments = [app, "--venv", str(installed.app_venv)]
    cwd = APPS / folder
    with PythonServer(tmp_path, *arguments, cwd=cwd, launcher=[installed.script]) as server:
        assert http1.request(server.port, "GET", "/").status in (200, 404)
        assert "(WSGI)" in server.greeting


def test_workers_serve_without_go(installed: Installed, tmp_path: Path) -> None:
    arguments = ["main:asgi", "--workers", "2", "--venv", str(installed.app_venv)]
    with PythonServer(tmp_path, *arguments, cwd=SITE, launcher=[installed.script]) as server:
        assert http1.request(server.port, "GET", "/").text == "from ASGI"
        children = [Path(f"/proc/{child}") for child in proc.children(server.process.pid)]
        started = [each for each in children if (each / "comm").read_text() == "python-worker\n"]
        assert started
        for worker in started:
            maps = (worker / "maps").read_text()
            assert "_worker.abi3.so" in maps and "_caddy.abi3.so" not in maps


def test_the_manual_and_completion_have_its_name(installed: Installed, tmp_path: Path) -> None:
    installed.run("manpage", "--directory", str(tmp_path))
    page = (tmp_path / "caddysnake-python-server.8").read_text()
    assert "\n$ caddysnake python-server main:app\n" in page
    assert installed.run("completion", "bash").startswith("# bash completion for caddysnake ")


def test_the_package_runs_as_a_module(installed: Installed, tmp_path: Path) -> None:
    launcher = [str(installed.bin / "python"), "-m", "caddysnake_py"]
    with PythonServer(tmp_path, "main:asgi", cwd=SITE, launcher=launcher) as server:
        assert http1.request(server.port, "GET", "/").text == "from ASGI"


def test_a_broken_app_ends_in_its_traceback(installed: Installed) -> None:
    error = run_in_vain("broken:app", cwd=SITE, launcher=[installed.script])
    assert error.rstrip().endswith("LookupError: no settings today")


def test_start_reload_and_stop(installed: Installed, tmp_path: Path) -> None:
    start_reload_and_stop([installed.script], tmp_path)


@pytest.mark.parametrize("command", ["upgrade", "add-package", "remove-package"])
def test_commands_that_would_overwrite_python_are_refused(
    installed: Installed, command: str
) -> None:
    error = run_in_vain(command, "example.com/module", cwd=REPOSITORY, launcher=[installed.script])
    assert "pip install --upgrade caddysnake" in error
