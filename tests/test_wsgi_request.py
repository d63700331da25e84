"""What a WSGI app sees of a request: the environ of PEP 3333 (conformance section A)."""

from __future__ import annotations

import os
from collections.abc import Iterable

import pytest

from harness.caddyfile import wsgi
from harness.environs import environ, shown
from harness.http1 import Header, Response
from harness.plugin import Serve
from harness.server import Server
from harness.ways import EVERY_WAY, HTTP1, WAYS, ask, ask2

SECRET = "CADDYSNAKE_TEST_SECRET"


@pytest.fixture(scope="module")
def server(serve_module: Serve) -> Server:
    app = wsgi("wsgi_request:app")
    return serve_module(app, app, tls=True, env={SECRET: "leaked"}, probe="/")


def get(server: Server, target: str, headers: Iterable[Header] = ()) -> Response:
    """Over plain HTTP/1.1, for what cannot differ or exists there only."""
    return ask(server, "HTTP/1.1", "GET", target, headers)


@pytest.mark.smoke
@pytest.mark.conformance("W01")
@pytest.mark.parametrize("way", WAYS)
def test_environ_is_a_dict_of_str(server: Server, way: str) -> None:
    found = shown(ask(server, way, "POST", "/", [("X-Header", "x")], b"x"))
    assert found["type"] == "builtins.dict"
    strings = {key for key in found["kinds"] if key.isupper()}
    assert {"REQUEST_METHOD", "PATH_INFO", "HTTP_HOST", "HTTP_X_HEADER"} <= strings
    assert {found["kinds"][key] for key in strings} == {"str"}


@pytest.mark.conformance("W02", "W13", "W19")
@pytest.mark.parametrize("way", EVERY_WAY)
@pytest.mark.in_process("wsgi.multiprocess differs")
def test_environ_has_every_key_that_pep_3333_demands(server: Server, way: str) -> None:
    found = shown(ask(server, way, "GET", "/path"))
    text = found["environ"]
    tls = way.endswith("TLS")
    version = "HTTP/1.1" if way in HTTP1 else f"{way.split()[0]}.0"
    assert text["REQUEST_METHOD"] == "GET"
    assert text["SCRIPT_NAME"] == ""
    assert text["PATH_INFO"] == "/path"
    assert text["QUERY_STRING"] == ""
    assert text["SERVER_NAME"] == "127.0.0.1"
    assert text["SERVER_PORT"] == str(server.ports[0 if tls else 1])
    assert text["SERVER_PROTOCOL"] == version
    assert text["HTTP_HOST"] == f"127.0.0.1:{text['SERVER_PORT']}"
    assert text["wsgi.url_scheme"] == ("https" if tls else "http")
    assert found["wsgi.version"] == ["tuple", 1, 0]
    assert {"wsgi.input", "wsgi.errors"} <= set(found["kinds"])
    assert found["flags"]["wsgi.multithread"] is True
    assert found["flags"]["wsgi.multiprocess"] is False
    assert found["flags"]["wsgi.run_once"] is False
    assert not [key for key in text if ":" in key], "no pseudo headers"


@pytest.mark.conformance("W19")
@pytest.mark.in_process("wsgi.multiprocess differs")
def test_an_app_with_one_thread_is_told_so(serve: Serve) -> None:
    flags = shown(serve(wsgi("wsgi_request:app", "threads 1")).get("/"))["flags"]
    assert (flags["wsgi.multithread"], flags["wsgi.multiprocess"]) == (False, False)


# The path


@pytest.mark.smoke
@pytest.mark.conformance("W03")
@pytest.mark.parametrize("way", WAYS)
def test_path_is_decoded_to_latin_1_and_the_query_stays_raw(server: Server, way: str) -> None:
    found = environ(ask(server, way, "GET", "/caf%C3%A9%20x?a=%20b&c=%C3%A9+%"))
    assert found["PATH_INFO"] == "/caf\u00c3\u00a9 x"
    assert found["QUERY_STRING"] == "a=%20b&c=%C3%A9+%"


@pytest.mark.conformance("W03", "W04")
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(
    ("target", "path"),
    [
        ("/%ff", "/\u00ff"),
        ("//x", "//x"),
        ("/a%2Fb", "/a/b"),
        ("/a%252Fb", "/a%2Fb"),
        ("/%00", "/\0"),
        ("/%E2%82%AC", "/\u00e2\u0082\u00ac"),
    ],
)
def test_odd_paths_are_decoded_once(server: Server, way: str, target: str, path: str) -> None:
    found = environ(ask(server, way, "GET", target))
    assert found["PATH_INFO"] == path
    assert found["REQUEST_URI"] == target
    assert found["RAW_URI"] == target


@pytest.mark.conformance("W02")
def test_a_question_mark_alone_is_an_empty_query(server: Server) -> None:
    assert environ(get(server, "/x?"))["QUERY_STRING"] == ""
    assert environ(get(server, "/x??a"))["QUERY_STRING"] == "?a"


# The body's headers


@pytest.mark.conformance("W07")
@pytest.mark.parametrize("way", WAYS)
def test_content_headers_have_no_http_prefix(server: Server, way: str) -> None:
    found = environ(ask(server, way, "POST", "/", [("Content-Type", "text/x")], b"four"))
    assert found["CONTENT_TYPE"] == "text/x"
    assert found["CONTENT_LENGTH"] == "4"
    assert not {"HTTP_CONTENT_TYPE", "HTTP_CONTENT_LENGTH"} & set(found)


@pytest.mark.conformance("W07")
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_a_request_without_a_body_has_no_length_and_no_type(
    server: Server, way: str, method: str
) -> None:
    found = environ(ask(server, way, method, "/"))
    assert found.get("CONTENT_LENGTH", "") in ("", "0")
    assert found.get("CONTENT_TYPE", "") == ""


@pytest.mark.conformance("W07")
def test_a_length_of_zero_stays_one(server: Server) -> None:
    found = environ(ask(server, "HTTP/1.1", "POST", "/", (), b""))
    assert found["CONTENT_LENGTH"] == "0"


@pytest.mark.parametrize("way", WAYS)
def test_an_upload_of_known_length_is_not_said_to_be_terminated(server: Server, way: str) -> None:
    for size in (4, 100_000 if way in HTTP1 else 60_000):
        found = shown(ask(server, way, "POST", "/", (), bytes(size)))
        assert found["flags"]["wsgi.input_terminated"] is None


@pytest.mark.conformance("W08")
@pytest.mark.parametrize("way", WAYS)
def test_an_upload_of_unknown_length_has_an_end(server: Server, way: str) -> None:
    found = shown(ask(server, way, "POST", "/", (), [b"ab", b"cd"]))
    assert found["flags"]["wsgi.input_terminated"] is True
    assert found["environ"].get("CONTENT_LENGTH", "") == ""
    assert "HTTP_TRANSFER_ENCODING" not in found["environ"]


# Headers


@pytest.mark.conformance("W09")
@pytest.mark.parametrize("way", WAYS)
def test_repeated_headers_are_joined(server: Server, way: str) -> None:
    headers = [("X-Dup", "1"), ("Cookie", "a=1"), ("X-Dup", ""), ("X-Dup", "3"), ("Cookie", "b=2")]
    found = environ(ask(server, way, "GET", "/", headers))
    assert found["HTTP_X_DUP"].replace(" ", "") == "1,,3"
    assert found["HTTP_COOKIE"] == "a=1; b=2"


@pytest.mark.conformance("W09", "W03")
def test_a_header_byte_above_ascii_arrives_as_latin_1(server: Server) -> None:
    assert environ(get(server, "/", [("X-Byte", "a\u00ffb")]))["HTTP_X_BYTE"] == "a\u00ffb"


@pytest.mark.smoke
@pytest.mark.conformance("W10", "W11")
@pytest.mark.parametrize("way", WAYS)
def test_headers_that_only_serve_to_deceive_are_dropped(server: Server, way: str) -> None:
    headers = [
        ("X_Under", "spoof"),
        ("X-Under", "real"),
        ("X_Alone", "spoof"),
        ("X-Forwarded_For", "spoof"),
        ("Content_Length", "1000"),
        ("Content_Type", "spoof"),
        ("Proxy", "evil"),
    ]
    found = environ(ask(server, way, "GET", "/", headers))
    assert found["HTTP_X_UNDER"] == "real"
    assert "HTTP_PROXY" not in found
    assert not {"spoof", "1000", "evil"} & set(found.values())


# What must not be there


@pytest.mark.smoke
@pytest.mark.conformance("W14")
@pytest.mark.parametrize("way", WAYS)
def test_the_servers_environment_stays_out_of_environ(server: Server, way: str) -> None:
    found = shown(ask(server, way, "GET", "/"))
    assert SECRET in found["variables"], "it is there, in os.environ"
    assert not set(found["variables"]) & set(found["environ"])
    assert os.environ["PATH"] not in found["environ"].values()


@pytest.mark.conformance("W18")
def test_each_request_gets_an_environ_of_its_own(server: Server) -> None:
    with server.connect() as connection:
        for target in ("/", "/ruins_its_environ", "/", "/ruins_its_environ", "/"):
            connection.request("POST", target, (), b"body")
            response = connection.response()
            if target == "/":
                assert shown(response)["marked"] is False
            else:
                assert response.text == "ruined"


# The connection


@pytest.mark.conformance("W13", "S30")
def test_server_protocol_is_the_clients(server: Server) -> None:
    response = server.get("/", version="HTTP/1.0")
    assert environ(response)["SERVER_PROTOCOL"] == "HTTP/1.0"


@pytest.mark.conformance("M03")
def test_pipelined_requests_are_answered_in_order(server: Server) -> None:
    with server.connect() as connection:
        requests = b"".join(b"GET /%d HTTP/1.1\r\nHost: localhost\r\n\r\n" % n for n in range(5))
        connection.send(requests)
        paths = [environ(connection.response())["PATH_INFO"] for _ in range(5)]
    assert paths == [f"/{n}" for n in range(5)]


@pytest.mark.conformance("W18")
def test_streams_of_one_connection_have_environs_of_their_own(server: Server) -> None:
    with server.connect2() as connection:
        for number in range(3):
            found = shown(ask2(connection, "GET", f"/{number}", [("X-Number", str(number))]))
            assert found["environ"]["PATH_INFO"] == f"/{number}"
            assert found["environ"]["HTTP_X_NUMBER"] == str(number)
            assert found["marked"] is False
