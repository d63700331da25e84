"""Finding and loading apps: names, factories, environment, virtual environments."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from harness import http1
from harness.caddyfile import asgi, python, wsgi
from harness.plugin import Serve
from harness.server import Server
from harness.settings import APPS, VENV

LOADING = APPS / "loading"


def seen(server: Server, *names: str) -> dict[str, list[str | None]]:
    found: dict[str, list[str | None]] = json.loads(server.get("/?" + "&".join(names)).body)
    return found


DETECTED = {
    "detected:wsgi_function": "wsgi",
    "detected:wsgi_instance": "wsgi",
    "detected:wsgi_method": "wsgi",
    "detected:asgi_function": "asgi",
    "detected:asgi_instance": "asgi",
    "detected:asgi_method": "asgi",
    "detected:asgi_partial": "asgi",
    "shop.web:make_async_app()": "made async",
}
DOTTED = {
    "shop.web:make_app()": "made",
    "shop.web:container.inner.app": "nested",
    "shop.web:container.inner.make()": "made",
}


@pytest.fixture(scope="module")
def sites(serve_module: Serve) -> dict[str, int]:
    """The port of each app, all of which one server has."""
    bodies = {target: f"python {target}" for target in DETECTED}
    bodies |= {target: wsgi(target, folder="loading") for target in DOTTED}
    server = serve_module(*bodies.values(), cwd=LOADING)
    return dict(zip(bodies, server.ports, strict=True))


@pytest.mark.smoke
@pytest.mark.conformance("E40")
@pytest.mark.parametrize(("target", "answer"), DETECTED.items())
def test_one_line_is_enough_and_the_interface_is_detected(
    sites: dict[str, int], target: str, answer: str
) -> None:
    assert http1.request(sites[target], "GET", "/").text == answer


@pytest.mark.smoke
@pytest.mark.conformance("E40")
@pytest.mark.parametrize(("target", "answer"), DOTTED.items())
def test_dotted_attributes_and_factories_load(
    sites: dict[str, int], target: str, answer: str
) -> None:
    assert http1.request(sites[target], "GET", "/").text == answer


@pytest.mark.conformance("E40")
@pytest.mark.parametrize(
    ("target", "folder"),
    [
        ("flask_app:app", "flask_site"),
        ("fastapi_app:app", "fastapi_site"),
        ("starlette_app:app", "starlette_site"),
    ],
)
def test_the_apps_of_frameworks_are_detected(serve: Serve, target: str, folder: str) -> None:
    """In JSON, where `module` leaves the interface open and other options can stand beside it."""
    server = serve(wsgi("shop.web:make_app()", folder="loading"))
    server.write(wsgi(target, folder=folder))
    text = json.dumps(server.adapt())
    open_ = text.replace(f'"module_wsgi": "{target}"', f'"module": "{target}"')
    assert open_ != text
    answer = server.load_json(json.loads(open_))
    assert answer.status == 200, answer.text
    server.health.take_baseline()  # an ASGI app has a thread and a loop
    assert server.get("/hello").status in (200, 404)


def test_the_directive_has_an_order_and_takes_a_matcher(serve: Serve) -> None:
    server = serve('python /app* detected:wsgi_function\nrespond "not python"', cwd=LOADING)
    assert server.get("/app").text == "wsgi"
    assert server.get("/other").text == "not python"


def test_a_relative_working_dir_is_one_below_caddys(serve: Serve) -> None:
    block = "python {\n module_wsgi shop.web:make_app()\n working_dir loading\n}"
    assert serve(block, cwd=APPS).get("/").text == "made"


def test_two_apps_live_in_one_server(serve: Serve) -> None:
    server = serve(
        f"handle /a {{\n{wsgi('shop.web:make_app()', folder='loading')}\n}}\n"
        f"handle {{\n{asgi('detected:asgi_function', 'lifespan off', folder='loading')}\n}}"
    )
    assert server.get("/a").text == "made"
    assert server.get("/b").text == "asgi"


@pytest.mark.smoke
@pytest.mark.conformance("T14")
def test_env_var_and_env_file_are_there_while_importing(serve: Serve, tmp_path: Path) -> None:
    env_file = tmp_path / "app.env"
    env_file.write_text('# A comment\n\nFROM_FILE="a value"\nIN_BOTH=file\n')
    server = serve(
        wsgi(
            "shows_environment:app",
            f"env_file {env_file}",
            "env_var FROM_LINE one",
            "env_var IN_BOTH line",
            folder="loading",
        )
    )
    assert seen(server, "FROM_FILE", "FROM_LINE", "IN_BOTH") == {
        "FROM_FILE": ["a value"] * 2,
        "FROM_LINE": ["one"] * 2,
        "IN_BOTH": ["line"] * 2,
    }


def test_a_relative_env_file_is_looked_for_in_working_dir_first(
    serve: Serve, tmp_path: Path
) -> None:
    app = "import os\n\ndef app(environ, start_response):\n    start_response('200 OK', [])\n"
    app += "    return [str([os.environ.get(name) for name in 'ABC']).encode()]\n"
    working_dir, caddys = tmp_path / "site", tmp_path / "caddys"
    for folder, both in ((working_dir, "site"), (caddys, "caddy")):
        folder.mkdir()
        (folder / ".env").write_text(f"A={both}\n")
    (working_dir / "main.py").write_text(app)
    (working_dir / "site.env").write_text("B=site\n")
    (caddys / "caddy.env").write_text("C=caddy\n")
    files = ["env_file .env", "env_file ./site.env", "env_file caddy.env"]
    server = serve(python("main:app", *files, folder=working_dir), cwd=caddys)
    assert server.get("/").text == "['site', 'site', 'caddy']"


def test_the_servers_environment_reaches_os_environ(serve: Serve) -> None:
    server = serve(wsgi("shows_environment:app", folder="loading"), env={"FROM_OUTSIDE": "yes"})
    assert seen(server, "FROM_OUTSIDE") == {"FROM_OUTSIDE": ["yes"] * 2}


# Virtual environments


def site_packages(venv: Path) -> Path:
    (found,) = venv.glob("lib/python3.*/site-packages")
    return found


def fake_venv(folder: Path, version: str) -> Path:
    """A virtual environment as far as its files tell."""
    venv = folder / "venv"
    (venv / "lib" / f"python{version}" / "site-packages").mkdir(parents=True)
    (venv / "pyvenv.cfg").write_text(f"home = {sys.base_prefix}/bin\nversion = {version}.1\n")
    return venv


@pytest.mark.smoke
def test_pth_files_and_editable_installs_of_a_venv_work(serve: Serve, tmp_path: Path) -> None:
    version = site_packages(VENV).parent.name.removeprefix("python")
    venv = fake_venv(tmp_path, version)
    (tmp_path / "source").mkdir()
    (tmp_path / "source" / "edited_package.py").write_text("NAME = 'edited'\n")
    site = site_packages(venv)
    (site / "edited.pth").write_text(f"{tmp_path / 'source'}\n")
    (site / "installed_package.py").write_text("NAME = 'installed'\n")
    (tmp_path / "app").mkdir()
    (tmp_path / "app" / "uses_both.py").write_text(
        "import edited_package, installed_package\n"
        "def app(environ, start_response):\n"
        "    start_response('200 OK', [])\n"
        "    return [f'{edited_package.NAME} {installed_package.NAME}'.encode()]\n"
    )
    server = serve(python("uses_both:app", folder=tmp_path / "app", venv=venv))
    assert server.get("/").text == "edited installed"


@pytest.mark.smoke
@pytest.mark.conformance("T16")
def test_a_venv_of_another_python_is_refused_with_both_versions(
    unstarted: Serve, tmp_path: Path
) -> None:
    mine = site_packages(VENV).parent.name.removeprefix("python")
    venv = fake_venv(tmp_path, "3.4")
    server = unstarted(python("detected:wsgi_function", folder="loading", venv=venv))
    said = server.run_in_vain()
    assert "3.4" in said
    assert mine in said
