"""Werkzeug's own test app shows its environ; its middleware mounts, and sends files."""

from __future__ import annotations

import re

import pytest

from harness.caddyfile import wsgi
from harness.plugin import Serve
from harness.server import Server
from harness.settings import APPS
from harness.ways import EVERY_WAY, WAYS, ask


@pytest.fixture(scope="module")
def server(serve_module: Serve) -> Server:
    app = wsgi("werkzeug_app:app", folder="werkzeug_site")
    return serve_module(app, app, tls=True, probe="/")


def environ(page: str) -> dict[str, str]:
    """What the page shows: each name with the value's repr."""
    found = re.findall(r"<tr><th>([^<]+)<td><code>(.*?)</code>", page)
    return {name: value.replace("&#39;", "'") for name, value in found}


@pytest.mark.conformance("W02", "W13", "W17")
@pytest.mark.parametrize("way", EVERY_WAY)
def test_the_test_app_shows_its_environ(server: Server, way: str) -> None:
    response = ask(server, way, "GET", "/some/path?query=1")
    assert (response.status, response.broken) == (200, None)
    found = environ(response.text)
    assert found["PATH_INFO"] == "'/some/path'"
    assert found["QUERY_STRING"] == "'query=1'"
    assert found["wsgi.version"] == "(1, 0)"
    assert found["wsgi.url_scheme"] == ("'https'" if way.endswith("TLS") else "'http'")


@pytest.mark.conformance("W06")
def test_its_dispatcher_mounts_the_app(server: Server) -> None:
    found = environ(server.get("/mounted/below").text)
    assert (found["SCRIPT_NAME"], found["PATH_INFO"]) == ("'/mounted'", "'/below'")


@pytest.mark.conformance("S28", "S18", "S17")
@pytest.mark.parametrize("way", WAYS)
def test_its_file_middleware_sends_files(server: Server, way: str) -> None:
    content = (APPS / "werkzeug_site" / "files" / "style.css").read_bytes()
    whole = ask(server, way, "GET", "/files/style.css")
    assert (whole.status, whole.body) == (200, content)
    assert whole.get("content-length") == str(len(content))
    head = ask(server, way, "HEAD", "/files/style.css")
    assert (head.status, head.body) == (200, b"")
    etag = whole.get("etag")
    assert etag is not None
    again = ask(server, way, "GET", "/files/style.css", [("If-None-Match", etag)])
    assert (again.status, again.body) == (304, b"")
