"""A Bottle site, as its users and its log see it."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator

import httpx
import pytest

from harness.caddyfile import wsgi
from harness.plugin import Serve
from harness.server import Server
from harness.settings import APPS

APP = wsgi("bottle_app:app", folder="bottle_site")


@pytest.fixture(scope="module")
def server(serve_module: Serve) -> Server:
    return serve_module(f"handle_path /shop/* {{\n{APP}\n}}\nhandle {{\n{APP}\n}}", probe="/me")


@pytest.fixture
def client(server: Server) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=f"http://127.0.0.1:{server.port}", timeout=30) as client:
        yield client


def test_routes_and_templates_answer(client: httpx.Client) -> None:
    assert "<p>Hello caf\u00e9 &amp; co!</p>" in client.get("/?name=caf%C3%A9+%26+co").text
    assert client.get("/number/21").json() == {"double": 42}
    assert client.get("/number/x").status_code == 404
    assert client.get("/nowhere").text == "no such page"
    assert client.get("/teapot").status_code == 418
    assert client.post("/teapot").status_code == 405


def test_json_and_forms_go_in_and_out(client: httpx.Client) -> None:
    data = {"list": [1, 2, 3], "text": "\u20ac"}
    assert client.post("/echo", json=data).json() == data
    answer = client.post("/login", data={"user": "ad\u00e0"}, follow_redirects=True)
    assert answer.json() == {"user": "ad\u00e0", "url": f"{client.base_url}/me"}


def test_an_uploaded_file_arrives_whole(client: httpx.Client) -> None:
    data = os.urandom(3_000_000)
    answer = client.post("/upload", files={"file": ("data.bin", data)}).json()
    assert answer == {"name": "data.bin", "sha256": hashlib.sha256(data).hexdigest()}


@pytest.mark.conformance("S28")
def test_static_files_come_with_length_ranges_and_304(client: httpx.Client) -> None:
    content = (APPS / "bottle_site" / "files" / "style.css").read_bytes()
    whole = client.get("/files/style.css")
    assert whole.content == content
    assert whole.headers["content-length"] == str(len(content))
    part = client.get("/files/style.css", headers={"Range": "bytes=5-9"})
    assert (part.status_code, part.content) == (206, content[5:10])
    again = client.get("/files/style.css", headers={"If-None-Match": whole.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")
    assert client.head("/files/style.css").headers["content-length"] == str(len(content))


@pytest.mark.conformance("S01", "S10")
def test_a_generator_streams(client: httpx.Client) -> None:
    assert client.get("/stream").text.split() == [str(count) for count in range(100)]


@pytest.mark.conformance("W06", "W17")
def test_mounts_of_caddy_and_of_bottle_add_up(client: httpx.Client) -> None:
    assert client.get("/part/where").json() == {
        "script": "/part/",
        "path": "/where",
        "url": f"{client.base_url}/part/where",
    }
    assert client.get("/shop/part/where").json() == {
        "script": "/shop/part/",
        "path": "/where",
        "url": f"{client.base_url}/shop/part/where",
    }


def test_bottle_answers_for_its_own_errors(server: Server, client: httpx.Client) -> None:
    expected = server.expect_app_log("planted: in a route")
    answer = client.get("/boom")
    assert answer.status_code == 500
    assert "Internal Server Error" in answer.text
    server.check()
    (record,) = expected.records
    assert "Traceback (most recent call last)" in record.text
