"""A Django project with its admin, over WSGI and over ASGI; Caddy serves its static files."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from harness.caddyfile import asgi, wsgi
from harness.health import Slack
from harness.plugin import Serve
from harness.server import Server
from harness.settings import APPS, VENV

pytestmark = pytest.mark.not_emulated("runs the environment's Python outside of the root, too")

SITE = APPS / "django_site"
PASSWORD = "correct horse"


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A migrated database with a superuser, and the collected static files."""
    folder = tmp_path_factory.mktemp("django")
    env = {
        **os.environ,
        "DJANGO_SETTINGS_MODULE": "djangosite.settings",
        "DJANGO_DATA": str(folder),
        "DJANGO_SUPERUSER_PASSWORD": PASSWORD,
    }
    for command in (
        ["migrate", "--verbosity=0"],
        ["createsuperuser", "--noinput", "--username=admin", "--email=admin@example.com"],
        ["collectstatic", "--noinput", "--verbosity=0"],
    ):
        python = [str(VENV / "bin" / "python"), "-m", "django", *command]
        subprocess.run(python, cwd=SITE, env=env, check=True, capture_output=True)
    return folder


@pytest.fixture(scope="module", params=["wsgi", "asgi"])
def server(serve_module: Serve, data: Path, request: pytest.FixtureRequest) -> Server:
    directive = {"wsgi": wsgi, "asgi": asgi}[request.param]
    app = directive(
        f"djangosite.{request.param}:application",
        "env_var DJANGO_SETTINGS_MODULE djangosite.settings",
        f"env_var DJANGO_DATA {data}",
        folder=SITE,
    )
    static = f"handle_path /static/* {{\n root * {data}/static\n file_server\n}}"
    # asgiref keeps an executor thread for Django's sync code.
    slack = Slack(threads=20, python_threads=10, descriptors=8)
    return serve_module(f"{static}\nhandle {{\n{app}\n}}", probe="/notes", slack=slack)


@pytest.fixture
def client(server: Server) -> Iterator[httpx.Client]:
    base_url = f"http://127.0.0.1:{server.port}"
    with httpx.Client(base_url=base_url, timeout=30, follow_redirects=True) as client:
        yield client


def submit(client: httpx.Client, url: str, **fields: str) -> httpx.Response:
    """Fills in a form as a browser does: with the token that came with it, and as its own site."""
    form = client.get(url)
    token = re.search(r'name="csrfmiddlewaretoken" value="([^"]+)"', form.text)
    assert token is not None, form.text
    data = {"csrfmiddlewaretoken": token[1], **fields}
    return client.post(form.url, data=data, headers={"Referer": str(form.url)})


def log_in(client: httpx.Client) -> httpx.Response:
    return submit(client, "/admin/login/?next=/admin/", username="admin", password=PASSWORD)


@pytest.mark.smoke
def test_the_admin_lets_in_who_knows_the_password(client: httpx.Client) -> None:
    assert "Log in" in client.get("/admin/").text
    wrong = submit(client, "/admin/login/", username="admin", password="wrong")
    assert "Please enter the correct username and password" in wrong.text
    page = log_in(client)
    assert page.status_code == 200
    assert "Site administration" in page.text


@pytest.mark.smoke
def test_the_admin_adds_changes_and_deletes_an_object(client: httpx.Client) -> None:
    log_in(client)
    url = "/admin/notes/note/add/"
    page = submit(client, url, title="caf\u00e9 \u20ac", text="line\n" * 2000, _save="Save")
    assert "was added successfully" in page.text
    assert client.get("/notes").json() == {"titles": ["caf\u00e9 \u20ac"]}
    assert client.get("/async_notes").json() == {"titles": ["caf\u00e9 \u20ac"]}
    link = re.search(
        r'href="(/admin/notes/note/\d+/change/)', client.get("/admin/notes/note/").text
    )
    assert link is not None
    submit(client, link[1], title="changed", text="", _save="Save")
    assert client.get("/notes").json() == {"titles": ["changed"]}
    submit(client, link[1].replace("change", "delete"), post="yes")
    assert client.get("/notes").json() == {"titles": []}


def test_a_post_without_the_csrf_token_is_refused(server: Server, client: httpx.Client) -> None:
    answer = client.post("/admin/login/", data={"username": "admin", "password": PASSWORD})
    assert answer.status_code == 403


@pytest.mark.smoke
def test_the_admins_static_files_are_served(client: httpx.Client) -> None:
    page = client.get("/admin/login/").text
    sheets = re.findall(r'href="(/static/[^"]+\.css)"', page)
    assert sheets
    for sheet in sheets:
        answer = client.get(sheet)
        assert answer.status_code == 200
        assert answer.headers["content-type"].startswith("text/css")


def test_a_stream_arrives_whole(client: httpx.Client) -> None:
    assert client.get("/stream").text.splitlines() == [str(number) for number in range(100)]


@pytest.mark.conformance("S28", "S18")
def test_a_file_is_sent_whole(client: httpx.Client, data: Path) -> None:
    content = (data / "static" / "admin" / "css" / "base.css").read_bytes()
    whole = client.get("/download")
    assert whole.content == content
    assert whole.headers["content-length"] == str(len(content))
    assert client.head("/download").headers["content-length"] == str(len(content))


def test_django_answers_for_its_own_errors(server: Server, client: httpx.Client) -> None:
    assert client.get("/nowhere").status_code == 404
    expected = server.expect_app_log("planted: in a view")
    assert client.get("/boom").status_code == 500
    server.check()
    (record,) = expected.records
    assert "Internal Server Error: /boom" in record.text
    assert "Traceback (most recent call last)" in record.text


def test_requests_in_parallel_share_the_database(server: Server) -> None:
    clients = [server.connect(timeout=30) for _ in range(50)]
    for client in clients:
        client.request("GET", "/notes")
    for client in clients:
        assert client.response().status == 200
        client.close()
