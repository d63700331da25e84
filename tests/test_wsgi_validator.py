"""`wsgiref.validate.validator` has nothing to say between the server and valid apps (S29)."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from harness.board import Board
from harness.caddyfile import wsgi
from harness.http1 import Header
from harness.plugin import Serve
from harness.server import Server
from harness.ways import HTTP2, WAYS, ask

pytestmark = pytest.mark.conformance("S29")

FLASK = "flask_site/flask_app:app"

# Of each module, what is valid in the eyes of the validator. It allows only `read(size)`, and wants
# a Content-Type with every body and none without.
VALID = {
    "wsgi_response:app": [
        ("GET", "/hello", 200),
        ("HEAD", "/hello", 200),
        ("GET", "/late_start_after_empty_blocks", 201),
        ("GET", "/replaced_head", 503),
        ("GET", "/as_tuple", 200),
        ("GET", "/many_blocks", 200),
        ("GET", "/own_length", 200),
        ("HEAD", "/own_length", 200),
        ("GET", "/unknown_length", 200),
        ("HEAD", "/unknown_length", 200),
        ("GET", "/nothing", 200),
        ("GET", "/own_status_alone?204", 204),
        ("GET", "/own_status_alone?304", 304),
        ("GET", "/through_write", 200),
        ("HEAD", "/through_write", 200),
        ("GET", "/repeated_headers", 200),
        ("GET", "/own_status?451", 451),
        ("OPTIONS", "/hello", 200),
    ],
    "wsgi_request:app": [
        ("GET", "/x/y?z=1", 200),
        ("POST", "/", 200),
        ("PUT", "/", 200),
        ("HEAD", "/", 200),
        ("GET", "/caf%C3%A9", 200),
    ],
    "wsgi_input:app": [
        ("POST", "/digest", 200),
        ("GET", "/digest", 200),
        ("POST", "/checksum", 200),
        ("POST", "/ignore", 200),
        ("POST", "/iterate_only", 200),
        ("POST", "/answers_after_reading", 200),
    ],
    "wsgi_streaming:app": [
        ("GET", "/written_first", 200),
        ("GET", "/written_only", 200),
        ("GET", "/written_large", 200),
        ("GET", "/many_small_blocks", 200),
        ("HEAD", "/many_small_blocks", 200),
        ("GET", "/one_large_block?1000000", 200),
    ],
    "wsgi_closing:app": [
        ("GET", "/blocks", 200),
        ("HEAD", "/blocks", 200),
        ("GET", "/nothing", 200),
        ("GET", "/a_generator", 200),
        ("GET", "/a_list_that_closes", 200),
        ("GET", "/not_modified", 304),
        ("GET", "/after_write", 200),
    ],
    "wsgi_files:app": [
        ("GET", "/file?path={file}", 200),
        ("HEAD", "/file?path={file}", 200),
        ("GET", "/in_memory", 200),
        ("GET", "/like_a_file", 200),
    ],
    "wsgi_concurrency:app": [("GET", "/hello", 200), ("GET", "/naps", 200)],
    FLASK: [
        ("GET", "/", 200),
        ("HEAD", "/", 200),
        ("POST", "/echo", 415),
        ("GET", "/me", 200),
        ("GET", "/teapot", 418),
        ("GET", "/nowhere", 404),
    ],
    "bottle_site/bottle_app:app": [
        ("GET", "/", 200),
        ("HEAD", "/", 200),
        ("GET", "/stream", 200),
        ("GET", "/nowhere", 404),
    ],
    "werkzeug_site/werkzeug_app:app": [("GET", "/", 200), ("GET", "/files/style.css", 200)],
}


@pytest.fixture(scope="module")
def server(serve_module: Serve) -> Server:
    """All apps behind one address; a header says which of them is meant."""
    lines = []
    for number, name in enumerate(VALID):
        app = wsgi("validated:app", f"env_var VALIDATED {name}")
        lines += [f"@{number} header X-Validated {name}", f"handle @{number} {{\n{app}\n}}"]
    site = "\n".join(lines)
    return serve_module(site, site, tls=True)


def chosen(name: str, *headers: Header) -> list[Header]:
    return [("X-Validated", name), *headers]


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("name", VALID)
def test_the_validator_is_content(
    server: Server, board: Board, tmp_path: Path, name: str, way: str
) -> None:
    """A complaint is an exception in the app: a 500, and a record that the test does not expect."""
    (tmp_path / "file").write_bytes(b"content" * 10_000)
    answers = {}
    for method, target, status in VALID[name]:
        body = b"a\nb\nc" * 100 if method in ("POST", "PUT") else None
        where = target.format(file=tmp_path / "file")
        response = ask(server, way, method, where, chosen(name, *board.headers), body)
        answers[method, target, status] = (response.status, response.broken)
    assert answers == {case: (case[2], None) for case in answers}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(
    ("name", "target", "status"),
    [(name, *case) for name, cases in VALID.items() for method, *case in cases if method == "POST"],
)
def test_the_validator_is_content_with_streamed_uploads(
    server: Server, board: Board, name: str, target: str, status: int, way: str
) -> None:
    response = ask(server, way, "POST", target, chosen(name, *board.headers), [b"a\nb\nc"] * 100)
    assert response.status == status


# ask() does not wait for the window of HTTP/2 to open for more.
@pytest.mark.parametrize(
    ("way", "size"),
    [
        *[(way, size) for way in WAYS for size in (20, 60_000)],
        *[(way, 300_000) for way in WAYS if way not in HTTP2],
    ],
)
def test_the_validator_is_content_with_flask_uploads(server: Server, way: str, size: int) -> None:
    """Werkzeug calls `read()` without a size where the server says `wsgi.input_terminated`."""
    body = json.dumps({"text": "x" * size}).encode()
    kind = ("Content-Type", "application/json")
    response = ask(server, way, "POST", "/echo", chosen(FLASK, kind), body)
    assert (response.status, response.broken) == (200, None)
    assert response.body.count(b"x") >= size
