"""The Dockerfile and compose.yaml. No container engine is here: Debian roots stand in for it.

So their commands, paths, users, variables and ports are tried, and what only an engine does is not.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from harness.container import Container
from harness.dockerfile import Stage, build, ignored
from harness.page import PAGE
from harness.roots import MakeRoot, go_caches
from harness.settings import APPS, REPOSITORY
from harness.sites import SITES, install
from harness.waiting import wait_for

pytestmark = pytest.mark.timeout(1800)

URL = "http://127.0.0.1:8080"
FILES = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]


@pytest.fixture(scope="module")
def context(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A clone with the files as they are here, without those that .dockerignore names."""
    folder = tmp_path_factory.mktemp("context") / "clone"
    subprocess.run(["git", "clone", "--quiet", str(REPOSITORY), str(folder)], check=True)
    listed = subprocess.run(FILES, cwd=REPOSITORY, capture_output=True, text=True, check=True)
    for name in filter(None, listed.stdout.split("\0")):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(REPOSITORY / name, folder / name)
    for name in ignored(folder):
        shutil.rmtree(folder / name, ignore_errors=True)
    return folder


@pytest.fixture(scope="module")
def image(make_root: MakeRoot, context: Path) -> Stage:
    return build(context, make_root, cached=go_caches())


def is_healthy(image: Stage, container: Container) -> bool:
    return container.attempt(*image.healthcheck).returncode == 0


def test_what_is_built_here_is_not_sent_to_the_engine() -> None:
    lines = (REPOSITORY / ".gitignore").read_text().splitlines()
    folders = {line.strip("/") for line in lines if line.endswith("/") and "*" not in line}
    assert folders - {"__pycache__"} <= set(ignored(REPOSITORY))


def test_the_last_stage_has_no_build_tools(image: Stage) -> None:
    assert [name for name in ("gcc", "git", "go", "make", "ld") if image.root.has(name)] == []
    assert not image.root.host_path("/src").exists()


def test_the_version_is_that_of_the_checkout(image: Stage) -> None:
    commit = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], cwd=REPOSITORY, capture_output=True, text=True
    ).stdout.strip()
    output = image.root.run(*image.entrypoint, "version", **image.options)
    assert f"+g{commit} v2." in output


def test_an_app_is_served_by_python_server(image: Stage, tmp_path: Path) -> None:
    command = ["python-server", "--app", "main:wsgi", "--listen", ":8080"]
    volumes = {"/app": APPS / "command_line"}
    with image.container(tmp_path, *command, volumes=volumes) as container:
        assert '"path": "/there"' in container.wait_for(f"{URL}/there")
        assert is_healthy(image, container)
        container.stop()


def test_without_arguments_main_app_is_served_and_reloaded(image: Stage, tmp_path: Path) -> None:
    code = "def app(environ, start_response):\n    start_response({!r}, [])\n    return [b'{}']\n"
    main = tmp_path / "app" / "main.py"
    main.parent.mkdir()
    main.write_text(code.format("200 OK", "first"))
    with image.container(tmp_path, volumes={"/app": main.parent}) as container:
        assert container.wait_for(URL) == "first"
        assert is_healthy(image, container)
        main.write_text(code.format("503 Not now", "second"))
        reload = ["reload", "--force", *image.cmd[1:]]
        done = container.attempt(*image.entrypoint, *reload)
        assert done.returncode == 0, done.stderr
        wait_for(lambda: container.get(URL) == (503, "second"), "the second")
        assert not is_healthy(image, container)
        container.stop()


def test_a_mounted_caddyfile_is_served(image: Stage, tmp_path: Path) -> None:
    caddyfile = tmp_path / "Caddyfile"
    caddyfile.write_text(":8080 {\n\trespond plain\n\tpython /python main:asgi\n}\n")
    volumes = {"/app": APPS / "command_line", "/etc/caddy/Caddyfile": caddyfile}
    with image.container(tmp_path, volumes=volumes) as container:
        assert container.wait_for(f"{URL}/plain") == "plain"
        assert container.wait_for(f"{URL}/python") == "from ASGI"
        container.stop()


def test_a_server_that_does_not_answer_is_not_healthy(image: Stage, tmp_path: Path) -> None:
    command = ["python-server", "--app", "main:wsgi", "--listen", ":8081"]
    volumes = {"/app": APPS / "command_line"}
    with image.container(tmp_path, *command, volumes=volumes) as container:
        container.wait_for("http://127.0.0.1:8081/")
        assert not is_healthy(image, container)


def test_the_user_is_not_root_and_may_write_to_its_folders(image: Stage, tmp_path: Path) -> None:
    command = ["file-server", "--listen", ":8080", "--browse"]
    with image.container(tmp_path, *command) as container:
        container.wait_for(URL)
        assert container.attempt("id", "-u").stdout == "1000\n"
        for folder in (*image.volumes, "/app", "/venv"):
            assert container.attempt("touch", f"{folder}/written").returncode == 0
        assert container.attempt("touch", "/etc/written").returncode != 0


def test_flask_django_and_fastapi_are_served(image: Stage, tmp_path: Path) -> None:
    install(image.root, f"{image.env['VIRTUAL_ENV']}/bin/python")
    for site in SITES:
        command = [*site.arguments(), "--listen", ":8080"]
        with image.container(tmp_path, *command) as container:
            for path, part in site.pages.items():
                assert part in container.wait_for(f"{URL}{path}")
            assert is_healthy(image, container)
            container.stop()


def test_the_derived_image_of_the_page_serves(
    image: Stage, make_root: MakeRoot, tmp_path: Path
) -> None:
    match = re.search(r"^```dockerfile\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    assert match is not None
    shop = shutil.copytree(
        APPS / "flask_site", tmp_path / "shop", ignore=shutil.ignore_patterns("__pycache__")
    )
    (shop / "flask_app.py").rename(shop / "main.py")
    (shop / "requirements.txt").write_text("Flask==3.1.3\n")
    (shop / "Dockerfile").write_text(match[1])
    derived = build(shop, make_root, images={"caddysnake": image})
    with derived.container(tmp_path) as container:
        assert "Hello world" in container.wait_for(URL)
        container.stop()


# compose.yaml


@pytest.fixture(scope="module")
def compose() -> dict[str, Any]:
    return yaml.safe_load((REPOSITORY / "compose.yaml").read_text())


def test_compose_names_ports_and_volumes_of_the_image(
    image: Stage, compose: dict[str, Any]
) -> None:
    (service,) = compose["services"].values()
    for port in service["ports"]:
        assert port.rpartition(":")[2] in image.exposed
    volumes = dict(volume.split(":")[:2] for volume in service["volumes"])
    named = {name: target for name, target in volumes.items() if name in compose["volumes"]}
    assert set(named) == set(compose["volumes"])
    assert set(named.values()) == set(image.volumes)


def test_the_service_of_compose_serves(
    image: Stage, compose: dict[str, Any], tmp_path: Path
) -> None:
    (service,) = compose["services"].values()
    assert service["build"] == "."
    folders = [volume.split(":") for volume in service["volumes"] if volume.startswith(".")]
    volumes = {target: REPOSITORY / source for source, target, *_ in folders}
    with image.container(tmp_path, *service["command"], volumes=volumes) as container:
        assert container.wait_for(URL)
        assert is_healthy(image, container)
        container.stop()
