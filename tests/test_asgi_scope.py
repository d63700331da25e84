"""What an ASGI app sees of a request: the HTTP scope (conformance section D)."""

from __future__ import annotations

import json
from typing import Any

import pytest

from harness.caddyfile import asgi
from harness.http1 import Connection, Header
from harness.plugin import Serve
from harness.server import Server


@pytest.fixture(scope="module")
def server(serve_module: Serve) -> Server:
    show = asgi("asgi_scope:show_scope", "lifespan off")
    return serve_module(f"handle_path /mounted/* {{\n{show}\n}}\nhandle {{\n{show}\n}}")


def scope(
    server: Server, target: str, headers: list[Header] | None = None, **options: Any
) -> dict[str, Any]:
    response = server.get(target, headers or [], **options)
    assert response.status == 200
    shown: dict[str, Any] = json.loads(response.body)
    assert shown["type"] == "dict"
    assert shown["marked"] is False
    found: dict[str, Any] = shown["scope"]
    return found


def headers_of(found: dict[str, Any]) -> list[tuple[str, str]]:
    return [(name["bytes"], value["bytes"]) for name, value in found["headers"]]


@pytest.mark.smoke
@pytest.mark.conformance("A01", "A02", "A03")
def test_scope_has_every_key_that_asgi_demands(server: Server) -> None:
    found = scope(server, "/path?a=%20b")
    assert found["type"] == "http"
    assert found["asgi"]["version"] == "3.0"
    assert found["http_version"] == "1.1"
    assert found["method"] == "GET"
    assert found["scheme"] == "http"
    assert found["path"] == "/path"
    assert found["raw_path"] == {"bytes": "/path"}
    assert found["query_string"] == {"bytes": "a=%20b"}
    assert found["root_path"] == ""


@pytest.mark.conformance("A02")
def test_http_version_is_the_clients(server: Server) -> None:
    assert scope(server, "/", version="HTTP/1.0")["http_version"] == "1.0"
    with server.connect2() as connection:
        body = connection.request("GET", "/").body
    assert json.loads(body)["scope"]["http_version"] == "2"


@pytest.mark.smoke
@pytest.mark.conformance("A03", "A04")
@pytest.mark.parametrize(
    ("target", "path"),
    [
        ("/caf%C3%A9%20x", "/caf\u00e9 x"),
        ("/%ff", "/\ufffd"),
        ("//x", "//x"),
        ("/a%2Fb", "/a/b"),
        ("/a%252Fb", "/a%2Fb"),
    ],
)
def test_path_is_text_and_raw_path_is_as_received(server: Server, target: str, path: str) -> None:
    found = scope(server, target)
    assert found["path"] == path
    assert found["raw_path"] == {"bytes": target}
    assert found["query_string"] == {"bytes": ""}


@pytest.mark.smoke
@pytest.mark.conformance("A05")
def test_headers_are_lower_case_bytes_with_duplicates_in_order(server: Server) -> None:
    sent = [("X-Dup", "1"), ("X-Dup", "2"), ("X-Byte", "a\u00ffb")]
    found = headers_of(scope(server, "/", sent))
    assert [pair for pair in found if pair[0] == "x-dup"] == [("x-dup", "1"), ("x-dup", "2")]
    assert ("x-byte", "a\u00ffb") in found
    assert ("host", f"127.0.0.1:{server.port}") in found


@pytest.mark.conformance("A05")
def test_a_chunked_request_says_so(server: Server) -> None:
    """Applications tell by it, or by the length, whether there is a body."""
    response = server.request("POST", "/", (), [b"ab"])
    found = headers_of(json.loads(response.body)["scope"])
    assert ("transfer-encoding", "chunked") in found


@pytest.mark.conformance("A05")
def test_http_2_authority_becomes_host_and_pseudo_headers_stay_out(server: Server) -> None:
    with server.connect2() as connection:
        body = connection.request("GET", "/", [("x-one", "1")]).body
    found = headers_of(json.loads(body)["scope"])
    assert found[0] == ("host", f"127.0.0.1:{server.port}")
    assert not [name for name, _ in found if name.startswith(":")]


@pytest.mark.conformance("A06")
def test_client_and_server_are_addresses_with_number_ports(server: Server) -> None:
    with Connection(server.port) as connection:
        port = connection.socket.getsockname()[1]
        connection.request("GET", "/")
        found = json.loads(connection.response().body)["scope"]
    assert found["client"] == ["127.0.0.1", port]
    assert found["server"] == ["127.0.0.1", server.port]


@pytest.mark.conformance("A07")
def test_a_stripped_prefix_becomes_root_path_and_path_stays_full(server: Server) -> None:
    found = scope(server, "/mounted/x")
    assert found["root_path"] == "/mounted"
    assert found["path"] == "/mounted/x"


@pytest.mark.conformance("A10")
def test_the_scheme_is_https_under_tls(serve: Serve) -> None:
    server = serve(asgi("asgi_scope:show_scope", "lifespan off"), tls=True)
    assert scope(server, "/")["scheme"] == "https"
    with server.connect2() as connection:
        body = connection.request("GET", "/").body
    found = json.loads(body)["scope"]
    assert (found["scheme"], found["http_version"]) == ("https", "2")
