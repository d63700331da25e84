"""Who asks and what for: REMOTE_ADDR, REMOTE_USER, the scheme, and URLs made from the environ."""

from __future__ import annotations

import pytest

from harness.caddyfile import wsgi
from harness.environs import environ, shown
from harness.http1 import Connection, Header, request
from harness.plugin import Serve
from harness.server import Server
from harness.ways import EVERY_WAY, ask

APP = wsgi("wsgi_request:app")
# Of "open sesame", at the lowest cost there is.
HASH = "$2a$04$faukPl7USrETDzJp6HvmuujNil.aecM832SOgApFMSrfa5ZqvcXxy"


@pytest.fixture(scope="module")
def server(serve_module: Serve) -> Server:
    user = f"basic_auth /private/* {{\nada {HASH}\n}}"
    mounted = f"handle_path /mounted/* {{\n{APP}\n}}\nhandle {{\n{APP}\n}}"
    body = f"{user}\n{mounted}"
    return serve_module(body, body, tls=True, probe="/")


@pytest.fixture(scope="module")
def behind(serve_module: Serve) -> Server:
    """A server that trusts the proxy before it, which is us."""
    return serve_module(APP, APP, tls=True, servers=["trusted_proxies static 127.0.0.1/32"])


# The client


@pytest.mark.conformance("W15")
@pytest.mark.parametrize("way", EVERY_WAY)
@pytest.mark.parametrize(
    "forged",
    [
        [("X-Forwarded-For", "192.0.2.1"), ("X-Forwarded-Proto", "https")],
        [("Forwarded", "for=192.0.2.1;proto=https;host=evil.test")],
        [("X-Real-IP", "192.0.2.1"), ("X-Forwarded-Host", "evil.test")],
        [("Remote-Addr", "192.0.2.1"), ("Remote-User", "root"), ("Https", "on")],
    ],
    ids=["x-forwarded", "forwarded", "x-real-ip", "names of variables"],
)
def test_nobody_untrusted_says_who_they_are(server: Server, way: str, forged: list[Header]) -> None:
    found = environ(ask(server, way, "GET", "/", forged))
    scheme = "https" if way.endswith("TLS") else "http"
    assert found["REMOTE_ADDR"] == "127.0.0.1"
    assert found["REMOTE_PORT"] != "0"
    assert found["wsgi.url_scheme"] == scheme
    assert found.get("HTTPS") == ("on" if scheme == "https" else None)
    assert found["SERVER_NAME"] == "127.0.0.1"
    assert "REMOTE_USER" not in found


@pytest.mark.conformance("W15")
def test_the_peers_address_and_port_are_those_of_its_socket(server: Server) -> None:
    with Connection(server.port, tls=True) as connection:
        host, port = connection.socket.getsockname()
        connection.request("GET", "/")
        found = environ(connection.response())
    assert (found["REMOTE_ADDR"], found["REMOTE_PORT"]) == (host, str(port))


@pytest.mark.conformance("W15")
@pytest.mark.parametrize("way", EVERY_WAY)
@pytest.mark.parametrize(
    ("claimed", "address"),
    [("192.0.2.1", "192.0.2.1"), ("192.0.2.1, 127.0.0.1", "192.0.2.1"), ("2001:db8::1",) * 2],
)
def test_a_trusted_proxy_names_the_client(
    behind: Server, way: str, claimed: str, address: str
) -> None:
    headers = [("X-Forwarded-For", claimed), ("X-Forwarded-Proto", "https")]
    found = environ(ask(behind, way, "GET", "/", headers))
    assert (found["REMOTE_ADDR"], found["REMOTE_PORT"]) == (address, "0")
    assert (found["wsgi.url_scheme"], found["HTTPS"]) == ("https", "on")
    assert found["HTTP_X_FORWARDED_FOR"] == claimed


@pytest.mark.conformance("W15")
@pytest.mark.parametrize("claimed", ["", "nonsense", "192.0.2.256", "unknown"])
def test_a_client_that_a_trusted_proxy_cannot_name_is_the_proxy(
    behind: Server, claimed: str
) -> None:
    headers = [("X-Forwarded-For", claimed), ("X-Forwarded-Proto", claimed)]
    found = environ(ask(behind, "HTTP/1.1", "GET", "/", headers))
    assert found["REMOTE_ADDR"] == "127.0.0.1"
    assert found["wsgi.url_scheme"] == "http"
    assert "HTTPS" not in found


@pytest.mark.conformance("W15")
def test_a_trusted_proxy_cannot_take_tls_away(behind: Server) -> None:
    found = environ(ask(behind, "HTTP/1.1 over TLS", "GET", "/", [("X-Forwarded-Proto", "http")]))
    assert found["wsgi.url_scheme"] == "https"


# The user

SESAME = ("Authorization", "Basic YWRhOm9wZW4gc2VzYW1l")


@pytest.mark.conformance("W15")
@pytest.mark.parametrize("way", EVERY_WAY)
def test_remote_user_is_whom_caddy_let_in(server: Server, way: str) -> None:
    forged = ("Remote-User", "root")
    assert ask(server, way, "GET", "/private/x").status == 401
    found = environ(ask(server, way, "GET", "/private/x", [SESAME, forged]))
    assert found["REMOTE_USER"] == "ada"


@pytest.mark.conformance("W15")
def test_credentials_that_nobody_checked_make_no_remote_user(server: Server) -> None:
    found = environ(ask(server, "HTTP/1.1", "GET", "/public", [SESAME]))
    assert "REMOTE_USER" not in found
    assert found["HTTP_AUTHORIZATION"] == SESAME[1]


# URLs


@pytest.mark.conformance("W17")
@pytest.mark.parametrize("way", EVERY_WAY)
@pytest.mark.parametrize("target", ["/", "/a%20b/c?q=%20&r=1", "/mounted/x", "/caf%C3%A9"])
def test_the_url_of_a_request_can_be_rebuilt(server: Server, way: str, target: str) -> None:
    found = shown(ask(server, way, "GET", target))
    tls = way.endswith("TLS")
    port = server.ports[0 if tls else 1]
    base = f"http{'s' if tls else ''}://127.0.0.1:{port}"
    assert found["url"] == base + target
    assert found["rebuilt"] == base + target


@pytest.mark.conformance("W17")
@pytest.mark.parametrize(
    ("host", "scheme", "url"),
    [
        ("shop.test", "http", "http://shop.test/x"),
        ("shop.test", "https", "https://shop.test/x"),
        ("shop.test:80", "http", "http://shop.test/x"),
        ("shop.test:443", "https", "https://shop.test/x"),
        ("shop.test:8080", "https", "https://shop.test:8080/x"),
        ("[::1]:8080", "http", "http://[::1]:8080/x"),
        ("[2001:db8::1]", "http", "http://[2001:db8::1]/x"),
    ],
)
def test_name_and_port_are_those_that_the_client_used(
    behind: Server, host: str, scheme: str, url: str
) -> None:
    """RFC 3875 section 4.1.14: an IPv6 address has its brackets in SERVER_NAME."""
    head = f"GET /x HTTP/1.1\r\nHost: {host}\r\nX-Forwarded-Proto: {scheme}\r\n\r\n"
    with Connection(behind.ports[1]) as connection:
        connection.send(head.encode())
        assert shown(connection.response())["rebuilt"] == url


@pytest.mark.conformance("W17", "S30")
def test_without_a_host_header_the_url_leads_back_to_the_server(server: Server) -> None:
    plain = server.ports[1]
    with Connection(plain) as connection:
        connection.send(b"GET /x HTTP/1.0\r\n\r\n")
        found = shown(connection.response())
    assert found["environ"]["SERVER_PORT"] == str(plain)
    assert found["environ"]["SERVER_NAME"] in ("localhost", "127.0.0.1")
    assert found["rebuilt"].endswith(f":{plain}/x")
    assert request(plain, "GET", "/x").status == 200
