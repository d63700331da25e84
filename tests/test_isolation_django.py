"""Three Django sites with the same project and application names, each on its own database, with
its own migrations, admin, REST framework and Channels."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx
import pytest
from websockets.sync.client import connect

from harness.health import Slack
from harness.plugin import Serve
from harness.ports import HOST
from harness.server import Server
from harness.settings import VENV
from harness.tenants import ISOLATION, NAMES, block, copies

PASSWORD = "correct horse"
SECOND_MIGRATION = """
from django.db import migrations, models

class Migration(migrations.Migration):
    dependencies = [("items", "0001_initial")]
    operations = [migrations.AddField("item", "size", models.IntegerField(default=7))]
"""


@pytest.fixture(scope="module")
def sites(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Migrated; the second one has a field more than the others."""
    folders = copies(ISOLATION / "shop", tmp_path_factory.mktemp("sites"))
    second = folders[1] / "items"
    (second / "migrations" / "0002_size.py").write_text(SECOND_MIGRATION)
    models = (second / "models.py").read_text()
    owner = next(line for line in models.splitlines() if "owner =" in line)
    line = "    size = models.IntegerField(default=7)"
    (second / "models.py").write_text(models.replace(owner, f"{owner}\n{line}"))
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(prepare, folders))
    return folders


def prepare(folder: Path) -> None:
    env = {
        **os.environ,
        "DJANGO_SETTINGS_MODULE": "mysite.settings",
        "DJANGO_DATA": str(folder),
        "DJANGO_SUPERUSER_PASSWORD": PASSWORD,
    }
    for command in (
        ["migrate", "--verbosity=0"],
        ["createsuperuser", "--noinput", f"--username={folder.name}", "--email=a@example.com"],
    ):
        python = [str(VENV / "bin" / "python"), "-m", "django", *command]
        done = subprocess.run(python, cwd=folder, env=env, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr


@pytest.fixture(scope="module", params=["wsgi", "asgi"])
def server(request: pytest.FixtureRequest, serve_module: Serve, sites: list[Path]) -> Server:
    target = f"mysite.{request.param}:application"
    blocks = [
        block(
            folder,
            target,
            f"env_var DJANGO_DATA {folder}",
            interface=f"module_{request.param}",
            venv=VENV,
        )
        for folder in sites
    ]
    # asgiref keeps an executor thread for the sync code of each site, which keeps its database.
    slack = Slack(threads=40, python_threads=40, descriptors=24)
    return serve_module(*blocks, slack=slack)


@pytest.fixture
def clients(server: Server) -> Iterator[list[httpx.Client]]:
    opened = [httpx.Client(base_url=f"http://{HOST}:{port}", timeout=30) for port in server.ports]
    yield opened
    for client in opened:
        client.close()


def answers(clients: list[httpx.Client], path: str) -> list[Any]:
    """What all sites answer, asked at the same time."""
    with ThreadPoolExecutor(len(clients)) as pool:
        responses = list(pool.map(lambda client: client.get(path), clients))
    assert [response.status_code for response in responses] == [200] * len(clients)
    return [response.json() for response in responses]


@pytest.mark.smoke
def test_each_site_has_its_settings_models_and_database(clients: list[httpx.Client]) -> None:
    about = answers(clients, "/about/")
    assert [each["site"] for each in about] == list(NAMES)
    assert [each["database"] for each in about] == list(NAMES)
    assert [each["model"] for each in about] == [True] * 3
    assert [each["renderer"] for each in about] == [name.capitalize() for name in NAMES]
    assert [len(each["fields"]) for each in about] == [3, 4, 3]
    assert len({each["django"] for each in about}) == 3


@pytest.mark.in_process("a worker has one application, and nothing to isolate")
def test_a_copy_of_django_is_small(clients: list[httpx.Client]) -> None:
    about = answers(clients, "/about/")
    assert len({each["django's path"] for each in about}) == 1
    methods = [set(each["lazy methods"]) for each in about]
    assert [len(each) for each in methods] == [1, 1, 1]
    assert len(set.union(*methods)) == 3


@pytest.mark.smoke
def test_the_rest_framework_of_each_site_has_its_data(clients: list[httpx.Client]) -> None:
    for number, client in enumerate(clients):
        for _ in range(number + 1):
            made = client.post("/api/items/", json={"name": "thing"})
            assert made.status_code == 201, made.text
    items = answers(clients, "/api/items/")
    assert [len(each) for each in items] == [1, 2, 3]
    assert [{item["owner"] for item in each} for each in items] == [{name} for name in NAMES]
    assert [each[0].get("size") for each in items] == [None, 7, None]
    assert [each["site"] for each in answers(clients, "/async/")] == list(NAMES)
    for client, each in zip(clients, items, strict=True):
        for item in each:
            assert client.delete(f"/api/items/{item['id']}/").status_code == 204


def test_each_admin_lets_its_own_users_in(clients: list[httpx.Client]) -> None:
    for name, client in zip(NAMES, clients, strict=True):
        page = client.get("/admin/login/")
        assert f"Administration of {name}" in page.text
        token = page.text.partition('name="csrfmiddlewaretoken" value="')[2].partition('"')[0]
        form = {"username": name, "password": PASSWORD, "csrfmiddlewaretoken": token}
        assert client.post("/admin/login/?next=/admin/", data=form).status_code == 302
        listed = client.get("/admin/items/item/").text
        assert f"item of {name}" in listed
        other = next(each for each in NAMES if each != name)
        stranger = httpx.Client(base_url=client.base_url)
        token = stranger.get("/admin/login/").text.partition('middlewaretoken" value="')[2]
        form |= {"username": other, "csrfmiddlewaretoken": token.partition('"')[0]}
        assert stranger.post("/admin/login/", data=form).status_code == 200  # the form again
        stranger.close()


@pytest.mark.parametrize("server", ["asgi"], indirect=True)
def test_channel_layers_do_not_meet(server: Server) -> None:
    with ExitStack() as stack:
        sockets = [
            stack.enter_context(connect(f"ws://{HOST}:{port}/talk/")) for port in server.ports
        ]
        for name, socket in zip(NAMES, sockets, strict=True):
            socket.send(json.dumps(f"hello from {name}"))
        heard = [json.loads(socket.recv(timeout=20)) for socket in sockets]
    assert [each["site"] for each in heard] == list(NAMES)
    assert [each["text"] for each in heard] == [f"hello from {name}" for name in NAMES]
