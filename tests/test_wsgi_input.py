"""How a WSGI app reads a request's body: the file API of `wsgi.input` (conformance section B)."""

from __future__ import annotations

import json
from typing import Any

import pytest

from harness.caddyfile import wsgi
from harness.plugin import Serve
from harness.server import Server
from harness.ways import WAYS, ask

MIB = 1 << 20


@pytest.fixture(scope="module")
def server(serve_module: Serve) -> Server:
    app = wsgi("wsgi_input:app")
    return serve_module(app, app, tls=True, probe="/hello")


# Every way to read must work on a body that came with the head and on one that is still coming.
def sized(text: bytes) -> bytes:
    return text


def streamed(text: bytes) -> list[bytes]:
    return [text[at : at + 2] for at in range(0, len(text), 2)]


def post(server: Server, target: str, body: bytes | list[bytes], way: str = "HTTP/1.1") -> Any:
    response = ask(server, way, "POST", target, (), body)
    assert (response.status, response.broken) == (200, None)
    return json.loads(response.body)


@pytest.mark.smoke
@pytest.mark.conformance("I01")
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("framed", [sized, streamed])
def test_reads_and_lines_may_be_mixed(server: Server, way: str, framed: Any) -> None:
    found = post(server, "/piecemeal", framed(b"line1\nline2\nline3"), way)
    assert found == ["lin", "e1\n", "li", "ne2\n", ["line3"], "", ""]


@pytest.mark.conformance("I02")
@pytest.mark.parametrize("framed", [sized, streamed])
def test_an_empty_line_is_not_the_end(server: Server, framed: Any) -> None:
    assert post(server, "/lines", framed(b"a\n\n\nb\n")) == ["a\n", "\n", "\n", "b\n"]


@pytest.mark.conformance("I03")
@pytest.mark.parametrize("framed", [sized, streamed])
def test_read_after_partial_reads_gives_the_rest(server: Server, framed: Any) -> None:
    found = post(server, "/rest_after_a_part", framed(b"12345\n67\n89"))
    assert found == ["1234", "5\n", "67\n89"]


@pytest.mark.conformance("I04")
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("how", ["none", "negative", "bare"])
@pytest.mark.parametrize("framed", [sized, streamed])
def test_read_without_a_size_gives_everything(
    server: Server, way: str, how: str, framed: Any
) -> None:
    found = post(server, f"/read_everything?{how}", framed(b"everything"), way)
    assert found == ["", "everything", ""]


@pytest.mark.conformance("I04")
@pytest.mark.parametrize("framed", [sized, streamed])
def test_lines_take_every_size_that_a_file_takes(server: Server, framed: Any) -> None:
    found = post(server, "/sizes_of_lines", framed(b"one\ntwo\nthree\nfour\nfive\nsix"))
    assert found == ["", "one\n", "two\n", ["three\n"], ["four\n", "five\n", "six"], []]


@pytest.mark.conformance("I05")
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("framed", [sized, streamed])
def test_read_past_the_end_does_not_wait_for_more(server: Server, way: str, framed: Any) -> None:
    assert post(server, "/read_past_the_end", framed(b"short"), way) == ["short", ""]


@pytest.mark.conformance("I05")
@pytest.mark.parametrize("way", WAYS)
def test_a_request_without_a_body_has_an_empty_input(server: Server, way: str) -> None:
    response = ask(server, way, "GET", "/read_past_the_end")
    assert json.loads(response.body) == ["", ""]


@pytest.mark.conformance("I07")
@pytest.mark.parametrize("framed", [sized, streamed])
def test_input_is_an_iterator_of_lines(server: Server, framed: Any) -> None:
    assert post(server, "/iterate", framed(b"a\nb\nc")) == ["a\n", "b\n", "c"]


@pytest.mark.conformance("I01", "I03")
def test_lines_longer_than_any_buffer_arrive_whole(server: Server) -> None:
    long = b"x" * MIB
    found = post(server, "/lines", long + b"\n" + long)
    assert [len(line) for line in found] == [MIB + 1, MIB]


@pytest.mark.conformance("I01", "I05")
@pytest.mark.parametrize("framed", [sized, streamed])
def test_the_input_passes_for_a_file(server: Server, framed: Any) -> None:
    """As io.TextIOWrapper and csv need it, or shutil.copyfileobj."""
    found = post(server, "/as_a_file", framed("a,\u20ac\nb,2\n".encode()))
    assert found == [["a", "\u20ac"], ["b", "2"]]


@pytest.mark.conformance("M03")
def test_a_post_and_a_get_in_one_packet_keep_apart(server: Server) -> None:
    with server.connect() as connection:
        first = b"POST /lines HTTP/1.1\r\nHost: localhost\r\nContent-Length: 4\r\n\r\na\nb\n"
        connection.send(first + b"GET /hello HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert json.loads(connection.response().body) == ["a\n", "b\n"]
        assert connection.response().text == '"hello"'


@pytest.mark.conformance("M03")
def test_a_chunked_post_and_a_get_in_one_packet_keep_apart(server: Server) -> None:
    with server.connect() as connection:
        first = b"POST /lines HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n"
        body = b"2\r\na\n\r\n2\r\nb\n\r\n0\r\n\r\n"
        connection.send(first + body + b"GET /hello HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert json.loads(connection.response().body) == ["a\n", "b\n"]
        assert connection.response().text == '"hello"'
