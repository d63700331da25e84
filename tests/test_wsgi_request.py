"""What a WSGI app sees of a request: the environ of PEP 3333 (conformance section A)."""

from __future__ import annotations

import json
from typing import Any

import pytest

from harness.caddyfile import wsgi
from harness.http1 import Connection, Header, Response
from harness.plugin import Serve
from harness.server import Server

SECRET = "CADDYSNAKE_TEST_SECRET"


@pytest.fixture(scope="module")
def server(serve_module: Serve) -> Server:
    mounted = "handle_path /mounted/* {\n" + wsgi("wsgi_request:show_environ") + "\n}"
    body = f"{mounted}\nhandle {{\n{wsgi('wsgi_request:show_environ')}\n}}"
    return serve_module(body, env={SECRET: "leaked"})


def seen(response: Response) -> dict[str, Any]:
    assert response.status == 200
    assert response.broken is None
    shown: dict[str, Any] = json.loads(response.body)
    return shown


def environ(server: Server, target: str, headers: list[Header] | None = None) -> dict[str, str]:
    found: dict[str, str] = seen(server.get(target, headers or []))["environ"]
    return found


@pytest.mark.smoke
@pytest.mark.conformance("W01")
def test_environ_is_a_dict_of_str(server: Server) -> None:
    shown = seen(server.get("/"))
    assert shown["type"] == "builtins.dict"
    strings = {key for key in shown["kinds"] if key.isupper()}
    assert {"REQUEST_METHOD", "PATH_INFO", "HTTP_HOST"} <= strings
    assert {shown["kinds"][key] for key in strings} == {"str"}


@pytest.mark.conformance("W02", "W19")
def test_environ_has_every_key_that_pep_3333_demands(server: Server) -> None:
    shown = seen(server.get("/path"))
    found = shown["environ"]
    assert found["REQUEST_METHOD"] == "GET"
    assert found["SCRIPT_NAME"] == ""
    assert found["PATH_INFO"] == "/path"
    assert found["QUERY_STRING"] == ""
    assert found["SERVER_NAME"]
    assert found["SERVER_PORT"] == str(server.port)
    assert found["SERVER_PROTOCOL"] == "HTTP/1.1"
    assert found["wsgi.url_scheme"] == "http"
    assert shown["wsgi.version"] == ["tuple", 1, 0]
    assert {"wsgi.input", "wsgi.errors"} <= set(shown["kinds"])
    assert shown["flags"]["wsgi.multithread"] is True
    assert shown["flags"]["wsgi.multiprocess"] is False
    assert shown["flags"]["wsgi.run_once"] is False


@pytest.mark.smoke
@pytest.mark.conformance("W03")
def test_path_is_decoded_to_latin_1_and_the_query_stays_raw(server: Server) -> None:
    found = environ(server, "/caf%C3%A9%20x?a=%20b")
    assert found["PATH_INFO"] == "/caf\u00c3\u00a9 x"
    assert found["QUERY_STRING"] == "a=%20b"


@pytest.mark.conformance("W04", "W03")
@pytest.mark.parametrize(
    ("target", "path"),
    [
        ("/%ff", "/\u00ff"),
        ("//x", "//x"),
        ("/a%2Fb", "/a/b"),
        ("/a%252Fb", "/a%2Fb"),
        ("/%00", "/\0"),
    ],
)
def test_odd_paths_are_decoded_once(server: Server, target: str, path: str) -> None:
    found = environ(server, target)
    assert found["PATH_INFO"] == path
    assert found["REQUEST_URI"] == target
    assert found["RAW_URI"] == target


@pytest.mark.conformance("W04")
def test_request_uri_is_the_bytes_as_received(server: Server) -> None:
    target = "/a/../b;c=%7e?q=1&q=%zz"
    found = environ(server, target)
    assert found["REQUEST_URI"] == target


@pytest.mark.conformance("W06")
@pytest.mark.parametrize(
    ("target", "path"), [("/mounted/x/y", "/x/y"), ("/mounted/", "/"), ("/mounted/a%20b", "/a b")]
)
def test_a_stripped_prefix_becomes_script_name(server: Server, target: str, path: str) -> None:
    found = environ(server, target)
    assert found["SCRIPT_NAME"] == "/mounted"
    assert found["PATH_INFO"] == path


@pytest.mark.conformance("W07")
def test_content_headers_have_no_http_prefix(server: Server) -> None:
    response = server.request("POST", "/", [("Content-Type", "text/x")], b"four")
    found = seen(response)["environ"]
    assert found["CONTENT_TYPE"] == "text/x"
    assert found["CONTENT_LENGTH"] == "4"
    assert not {"HTTP_CONTENT_TYPE", "HTTP_CONTENT_LENGTH"} & set(found)
    assert environ(server, "/").get("CONTENT_LENGTH", "") == ""


@pytest.mark.conformance("W08")
def test_a_chunked_upload_has_no_length_but_an_end(server: Server) -> None:
    shown = seen(server.request("POST", "/", (), [b"ab", b"cd"]))
    assert shown["flags"]["wsgi.input_terminated"] is True
    assert shown["environ"].get("CONTENT_LENGTH", "") == ""


@pytest.mark.conformance("W09")
def test_repeated_headers_are_joined(server: Server) -> None:
    found = environ(
        server, "/", [("X-Dup", "1"), ("Cookie", "a=1"), ("X-Dup", "2"), ("Cookie", "b=2")]
    )
    assert found["HTTP_X_DUP"] in ("1,2", "1, 2")
    assert found["HTTP_COOKIE"] == "a=1; b=2"


@pytest.mark.smoke
@pytest.mark.conformance("W10", "W11")
def test_headers_that_only_serve_to_deceive_are_dropped(server: Server) -> None:
    found = environ(server, "/", [("X_Under", "spoof"), ("X-Under", "real"), ("Proxy", "evil")])
    assert found["HTTP_X_UNDER"] == "real"
    assert "HTTP_PROXY" not in found


@pytest.mark.conformance("W03")
def test_a_header_byte_above_ascii_arrives_as_latin_1(server: Server) -> None:
    assert environ(server, "/", [("X-Byte", "a\u00ffb")])["HTTP_X_BYTE"] == "a\u00ffb"


@pytest.mark.conformance("W13")
def test_server_protocol_is_the_clients(server: Server) -> None:
    assert seen(server.get("/", version="HTTP/1.0"))["environ"]["SERVER_PROTOCOL"] == "HTTP/1.0"
    with server.connect2() as connection:
        body = connection.request("GET", "/").body
    assert json.loads(body)["environ"]["SERVER_PROTOCOL"] == "HTTP/2.0"


@pytest.mark.smoke
@pytest.mark.conformance("W14")
def test_the_servers_environment_stays_out_of_environ(server: Server) -> None:
    assert not {SECRET, "PATH", "HOME"} & set(environ(server, "/"))


@pytest.mark.conformance("W15")
def test_the_peer_is_who_connected_whatever_the_request_claims(server: Server) -> None:
    forged = [("X-Forwarded-For", "192.0.2.1"), ("X-Forwarded-Proto", "https")]
    with Connection(server.port) as connection:
        port = connection.socket.getsockname()[1]
        connection.request("GET", "/", forged)
        found = seen(connection.response())["environ"]
    assert found["REMOTE_ADDR"] == "127.0.0.1"
    assert found["REMOTE_PORT"] == str(port)
    assert found["wsgi.url_scheme"] == "http"


@pytest.mark.conformance("W18")
def test_each_request_gets_an_environ_of_its_own(server: Server) -> None:
    with server.connect() as connection:
        for _ in range(3):
            connection.request("GET", "/")
            assert seen(connection.response())["marked"] is False


@pytest.mark.conformance("M03")
def test_pipelined_requests_are_answered_in_order(server: Server) -> None:
    with server.connect() as connection:
        requests = b"".join(b"GET /%d HTTP/1.1\r\nHost: x\r\n\r\n" % n for n in range(5))
        connection.send(requests)
        paths = [seen(connection.response())["environ"]["PATH_INFO"] for _ in range(5)]
    assert paths == [f"/{n}" for n in range(5)]


@pytest.mark.conformance("W02")
@pytest.mark.parametrize("method", ["PUT", "DELETE", "OPTIONS", "PROPFIND", "x-y"])
def test_any_method_reaches_the_app(server: Server, method: str) -> None:
    assert seen(server.request(method, "/"))["environ"]["REQUEST_METHOD"] == method
