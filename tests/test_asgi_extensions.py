"""The extensions of ASGI HTTP: path send, early hints, trailers, tls (conformance section E)."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from harness.board import Board
from harness.caddyfile import asgi
from harness.plugin import Serve
from harness.server import Server
from harness.waiting import wait_for

SITE = asgi("asgi_extensions:app", "lifespan off")
PATHSEND, HINTS, TRAILERS = (
    f"http.response.{name}" for name in ("pathsend", "early_hint", "trailers")
)


@pytest.fixture(scope="module")
def server(serve_module: Serve) -> Server:
    return serve_module(SITE, probe="/hello")


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "a-file"
    path.write_bytes(bytes(range(256)) * 1000)
    return path


@pytest.mark.smoke
@pytest.mark.conformance("A12")
def test_what_works_is_offered(server: Server) -> None:
    for _ in range(2):
        assert set(json.loads(server.get("/extensions").text)) == {PATHSEND, HINTS}
    asked = json.loads(server.get("/extensions", [("TE", "trailers")]).text)
    assert set(asked) == {PATHSEND, HINTS, TRAILERS}
    old = json.loads(server.get("/extensions", version="HTTP/1.0").text)
    assert set(old) == {PATHSEND}
    with server.connect2() as connection:
        stream = connection.response(connection.start("GET", "/extensions", []))
        assert set(json.loads(stream.body)) == {PATHSEND, HINTS, TRAILERS}


@pytest.mark.conformance("A12")
def test_tls_is_described(serve: Serve) -> None:
    server = serve(SITE, probe="/hello", tls=True)
    tls = json.loads(server.get("/extensions").text)["tls"]
    assert tls["tls_version"] == 0x0304
    assert tls["cipher_suite"] in range(0x1301, 0x1306)
    assert (tls["server_cert"], tls["client_cert_chain"]) == (None, [])
    assert (tls["client_cert_name"], tls["client_cert_error"]) == (None, None)


@pytest.mark.smoke
@pytest.mark.conformance("E36")
def test_a_path_is_sent_as_the_body(server: Server, file: Path) -> None:
    response = server.get(f"/path?{file}")
    assert (response.status, response.get("x-a")) == (200, "1")
    assert response.get("content-length") == "256000"
    assert response.body == file.read_bytes()
    ranged = server.get(f"/path?{file}", [("Range", "bytes=0-9")])
    assert (ranged.status, len(ranged.body)) == (200, 256000)
    head = server.request("HEAD", f"/path?{file}")
    assert (head.get("content-length"), head.body) == ("256000", b"")


@pytest.mark.conformance("E36")
@pytest.mark.parametrize(
    ("path", "error"),
    [("/no/such/file", "FileNotFoundError"), ("/", "IsADirectoryError"), ("", "FileNotFoundError")],
)
def test_a_path_that_cannot_be_sent_raises_in_the_app(
    server: Server, path: str, error: str
) -> None:
    assert server.get(f"/path_or_error?{path}").text == error


@pytest.mark.conformance("E36")
def test_an_unhandled_missing_path_is_a_500(server: Server) -> None:
    server.expect_failure("No such file or directory")
    assert server.get("/path?/no/such/file").status == 500


@pytest.mark.conformance("E36")
def test_a_path_is_the_whole_body(server: Server, board: Board, file: Path) -> None:
    assert len(server.get(f"/path_twice?{file}", board.headers).body) == 256000
    board.wait("refused")
    server.expect_app_log("must be the one message")
    assert server.get(f"/path_after_body?{file}").broken


@pytest.mark.smoke
@pytest.mark.conformance("E38")
def test_hints_come_before_the_response(server: Server) -> None:
    with server.connect() as connection:
        connection.request("GET", "/hints")
        received = b""
        while not received.endswith(b"done"):
            received += connection.socket.recv(65536)
    first, second, final = received.split(b"\r\n\r\n")[:3]
    assert b" 103 " in first.splitlines()[0]
    assert first.count(b"Link: ") == 2
    assert b"Link: </a.css>; rel=preload\r\nLink: </b>" in first
    assert b" 103 " in second.splitlines()[0]
    assert second.count(b"Link: ") == 1
    assert final.count(b"Link: ") == 1
    assert b"Link: </final>" in final


@pytest.mark.conformance("E38")
def test_http_1_0_gets_no_hints(server: Server) -> None:
    response = server.get("/hints", version="HTTP/1.0")
    assert (response.status, response.text, response.interim) == (200, "done", [])


@pytest.mark.conformance("E38")
def test_a_hint_may_follow_the_start_and_is_dropped_once_the_head_is_out(server: Server) -> None:
    response = server.get("/hint_after_start")
    assert (response.status, response.text, response.interim) == (200, "one two", [103])
    assert response.all("link") == ["</final>"]
    with server.connect2() as connection:
        stream = connection.request("GET", "/hint_after_start")
    assert (stream.status, stream.body, stream.interim) == (200, b"one two", [103])


@pytest.mark.smoke
@pytest.mark.conformance("E37")
def test_trailers_follow_over_http_2(server: Server) -> None:
    with server.connect2() as connection:
        stream = connection.response(connection.start("GET", "/trailers", []))
    assert (stream.status, stream.body) == (200, b"ab")
    assert stream.trailers == [("x-b", "3"), ("x-sum", "1"), ("x-sum", "2")]


@pytest.mark.conformance("E37")
def test_trailers_follow_over_http_1_for_clients_that_take_them(server: Server) -> None:
    with server.connect() as connection:
        connection.request("GET", "/trailers", [("TE", "trailers"), ("Connection", "close")])
        received = b""
        while data := connection.socket.recv(65536):
            received += data
    assert received.endswith(b"0\r\nX-B: 3\r\nX-Sum: 1\r\nX-Sum: 2\r\n\r\n")


@pytest.mark.conformance("E37")
def test_other_clients_get_the_response_without(server: Server) -> None:
    response = server.get("/trailers")
    assert (response.status, response.body, response.broken) == (200, b"ab", None)


@pytest.mark.conformance("E37")
@pytest.mark.parametrize("headers", [[], [("TE", "trailers")]])
def test_promised_trailers_that_never_come(server: Server, headers: list[tuple[str, str]]) -> None:
    response = server.get("/no_trailers", headers)
    assert (response.status, response.body, response.broken) == (200, b"ab", None)


@pytest.mark.conformance("E37", "E19")
def test_a_trailer_that_http_cannot_carry_breaks_the_response(server: Server) -> None:
    server.expect_app_log("contains the control character 0x0d")
    response = server.get("/bad_trailer", [("TE", "trailers")])
    assert response.broken
    assert b"Evil" not in response.body


@pytest.mark.conformance("E39")
def test_date_and_server_come_once(server: Server) -> None:
    ours = server.get("/hello")
    assert len(ours.all("date")) == 1
    assert ours.all("server") == ["Caddy"]
    own = server.get("/own_date_and_server")
    assert own.all("date") == ["Mon, 01 Jan 2024 00:00:00 GMT"]
    assert own.all("server") == ["mine"]


@pytest.mark.smoke
@pytest.mark.conformance("E33")
@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
def test_a_blocked_loop_is_reported_with_its_stack(serve: Serve, board: Board, loop: str) -> None:
    options = ("lifespan off", f"loop {loop}", "blocked_loop 1s")
    server = serve(asgi("asgi_extensions:app", *options), probe="/hello")
    report = "event loop has been blocked"
    with server.connect() as connection:
        connection.request("GET", "/blocks", board.headers)
        board.wait("blocking")
        wait_for(lambda: server.log.find(report), "the report")
        board.post("reported")
        assert connection.response().text == "late"
    (record,) = server.log.find(report)
    assert "in blocks" in record.text
    assert server.get("/hello").status == 200
    assert len(server.log.find(report)) == 1
