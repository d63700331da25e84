"""A Flask site, as its users and its log see it."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator

import httpx
import pytest

from harness.board import Board
from harness.caddyfile import wsgi
from harness.plugin import Serve
from harness.server import Server
from harness.settings import APPS
from harness.waiting import wait_for


@pytest.fixture(scope="module")
def server(serve_module: Serve) -> Server:
    return serve_module(wsgi("flask_app:app", folder="flask_site"), probe="/me")


@pytest.fixture
def client(server: Server) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=f"http://127.0.0.1:{server.port}", timeout=30) as client:
        yield client


@pytest.mark.smoke
def test_a_template_is_rendered(client: httpx.Client) -> None:
    assert "<p>Hello caf\u00e9 &amp; co!</p>" in client.get("/?name=caf%C3%A9+%26+co").text


@pytest.mark.smoke
def test_json_goes_in_and_out(client: httpx.Client) -> None:
    data = {"list": [1, 2, 3], "text": "\u20ac"}
    assert client.post("/echo", json=data).json() == data
    assert client.post("/echo", content=b"{broken").status_code in (400, 415)


def test_a_form_starts_a_session(client: httpx.Client) -> None:
    assert client.get("/me").json()["user"] is None
    answer = client.post("/login", data={"user": "ada"}, follow_redirects=True)
    assert answer.json() == {"user": "ada", "url": str(client.base_url) + "/me"}
    assert client.get("/me").json()["user"] == "ada"


def test_an_uploaded_file_arrives_whole(client: httpx.Client) -> None:
    data = os.urandom(3_000_000)
    answer = client.post("/upload", files={"file": ("data.bin", data)}).json()
    assert answer == {"name": "data.bin", "sha256": hashlib.sha256(data).hexdigest()}


def test_a_stream_arrives_as_it_is_made(client: httpx.Client, board: Board) -> None:
    params = {"go": str(board.folder / "go"), "last": "last"}
    with client.stream("GET", "/stream", params=params) as answer:
        pieces = answer.iter_text()
        assert next(pieces) == "first "
        board.post("go")
        assert "".join(pieces) == "last"


@pytest.mark.conformance("S28", "S18", "S17")
def test_a_file_is_sent_whole_in_part_or_not_at_all(client: httpx.Client) -> None:
    content = (APPS / "flask_site" / "flask_app.py").read_bytes()
    whole = client.get("/source")
    assert whole.content == content
    assert whole.headers["content-length"] == str(len(content))
    part = client.get("/source", headers={"Range": "bytes=10-19"})
    assert (part.status_code, part.content) == (206, content[10:20])
    again = client.get("/source", headers={"If-None-Match": whole.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")
    assert client.head("/source").headers["content-length"] == str(len(content))


def test_flask_answers_for_its_own_errors(server: Server, client: httpx.Client) -> None:
    assert client.get("/nowhere").status_code == 404
    assert client.get("/teapot").status_code == 418
    expected = server.expect_app_log("planted: in a view")
    answer = client.get("/boom")
    assert answer.status_code == 500
    assert "Internal Server Error" in answer.text
    server.check()
    (record,) = expected.records
    assert "Exception on /boom [GET]" in record.text
    assert "Traceback (most recent call last)" in record.text


def test_flasks_logger_reaches_caddys_log(server: Server, client: httpx.Client) -> None:
    client.get("/log")
    (record,) = wait_for(lambda: server.log.find("a warning from flask"), "the record")
    assert record.level == "warn"
    assert record.fields["app"] == "flask_app:app"
