"""What an app sees of a websocket's request, and Caddy's other handlers around it (section K)."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

from harness.caddyfile import asgi
from harness.http1 import Header
from harness.plugin import Serve
from harness.ports import HOST
from harness.server import Server
from harness.websocket import HANDSHAKE, PING, PONG, WebSocket


def app(folder: Path, *options: str) -> str:
    return asgi("websocket_life:app", f"env_var LIFE_NOTES {folder / 'notes'}", *options)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> str:
    return app(tmp_path_factory.mktemp("life"))


@pytest.fixture(scope="module")
def server(serve_module: Serve, site: str) -> Server:
    return serve_module(site, probe="/hello")


@pytest.fixture
def changed(server: Server, site: str) -> Iterator[Server]:
    """The server, for a test that gives it another site."""
    yield server
    server.configure(site)


def scope(server: Server, target: str = "/scope", headers: list[Header] | None = None) -> Any:
    with WebSocket(server, target, headers or []) as socket:
        return json.loads(socket.receive().payload)


def pairs(found: Any) -> list[tuple[str, str]]:
    return [(name["bytes"], value["bytes"]) for name, value in found["headers"]]


@pytest.mark.conformance("A05")
def test_headers_and_cookies_are_the_clients_in_order(server: Server) -> None:
    sent = [("X-Dup", "1"), ("X-Dup", "2"), ("Cookie", "a=1; b=2"), ("Origin", "http://x.test")]
    found = pairs(scope(server, headers=sent))
    assert [pair for pair in found if pair[0] == "x-dup"] == [("x-dup", "1"), ("x-dup", "2")]
    assert ("cookie", "a=1; b=2") in found
    assert ("origin", "http://x.test") in found
    assert ("host", f"{HOST}:{server.port}") in found
    assert ("sec-websocket-version", "13") in found
    assert ("upgrade", "websocket") in found


@pytest.mark.conformance("A03", "A04")
@pytest.mark.parametrize(
    ("rest", "query"), [("?a=%20b&c", "a=%20b&c"), ("?", ""), ("", ""), ("?%ff", "%ff")]
)
def test_the_query_is_raw(server: Server, rest: str, query: str) -> None:
    found = scope(server, f"/scope{rest}")
    assert found["query_string"] == {"bytes": query}
    assert (found["path"], found["raw_path"]) == ("/scope", {"bytes": "/scope"})
    assert "method" not in found


@pytest.mark.conformance("A03")
def test_an_escaped_path_is_decoded_once(server: Server) -> None:
    found = scope(server, "/sc%6fpe")
    assert (found["path"], found["raw_path"]) == ("/scope", {"bytes": "/sc%6fpe"})


@pytest.mark.conformance("A06")
def test_client_and_server_are_addresses(server: Server) -> None:
    with WebSocket(server, "/scope") as socket:
        port = socket.socket.getsockname()[1]
        found = json.loads(socket.receive().payload)
    assert found["client"] == [HOST, port]
    assert found["server"] == [HOST, server.port]


@pytest.mark.conformance("A06", "A10")
def test_only_a_trusted_proxy_names_client_and_scheme(
    server: Server, serve: Serve, site: str
) -> None:
    forged = [("X-Forwarded-For", "192.0.2.7"), ("X-Forwarded-Proto", "https")]
    found = scope(server, headers=forged)
    assert (found["client"][0], found["scheme"]) == (HOST, "ws")
    trusting = serve(site, probe="/hello", servers=["trusted_proxies static 127.0.0.1/32"])
    found = scope(trusting, headers=forged)
    assert (found["client"][0], found["scheme"]) == ("192.0.2.7", "wss")
    assert scope(trusting, headers=[("X-Forwarded-Proto", "wss")])["scheme"] == "wss"
    assert scope(trusting, headers=[("X-Forwarded-Proto", "ws")])["scheme"] == "ws"


@pytest.mark.conformance("A09")
def test_each_websocket_has_a_copy_of_the_state_with_the_same_objects(server: Server) -> None:
    first = scope(server)["state"]
    second = scope(server)["state"]
    assert second["shared"]["count"] == first["shared"]["count"] + 1
    assert first["own"] == second["own"] == 1


# Between client and app


def talks(server: Server, target: str = "/listens", headers: list[Header] | None = None) -> bool:
    with WebSocket(server, target, headers or []) as socket:
        assert socket.refusal is None, socket.refusal
        assert socket.receive().payload == b"open"
        socket.text("x" * 100_000)
        return socket.receive().payload == b"x" * 100_000


@pytest.mark.conformance("M08")
def test_other_handlers_let_websockets_through(changed: Server, site: str) -> None:
    """Each wraps the response or sits in its way."""
    around = [
        "encode gzip zstd",
        "header -Server",
        "templates",
        "log",
        "request_body {\nmax_size 1KB\n}",
        "intercept {\n@bad status 404\nhandle_response @bad {\nrespond never\n}\n}",
        'handle_errors {\nrespond "never"\n}',
    ]
    server = changed.configure("\n".join([*around, site]))
    assert talks(server, headers=[("Accept-Encoding", "gzip")])


@pytest.mark.conformance("M08")
def test_metrics_let_websockets_through(serve: Serve, site: str) -> None:
    server = serve(site, probe="/hello", options=["metrics {\nper_host\n}"])
    assert talks(server)


@pytest.mark.conformance("M08")
def test_basic_auth_comes_first(changed: Server, site: str) -> None:
    # The password is "secret".
    done = changed.command("hash-password", "--plaintext", "secret")
    accounts = f"{{\nuser {done.stdout.strip()}\n}}"
    server = changed.configure(f"@ws path /listens /scope\nbasic_auth @ws {accounts}\n{site}")
    assert server.get("/listens", HANDSHAKE).status == 401
    assert talks(server, headers=[("Authorization", "Basic dXNlcjpzZWNyZXQ=")])


@pytest.mark.conformance("M08", "A07")
def test_a_prefix_is_stripped(changed: Server, site: str) -> None:
    server = changed.configure(f"handle_path /ws/* {{\n{site}\n}}\nhandle {{\n{site}\n}}")
    with WebSocket(server, "/ws/scope") as socket:
        # The app looks up its full path and finds nothing there.
        assert socket.refusal is not None
    server.expect_failure("KeyError")


@pytest.mark.conformance("M08")
@pytest.mark.parametrize("tls", [False, True])
def test_another_caddy_may_sit_in_front(server: Server, serve: Serve, tls: bool) -> None:
    front = serve(f"reverse_proxy {HOST}:{server.port}", probe="/hello", tls=tls)
    assert talks(front)
    with WebSocket(front, "/listens") as socket:
        assert socket.receive().payload == b"open"
        socket.close(4000, "bye")
        assert (socket.receive().code, socket.has_ended()) == (4000, True)


@pytest.mark.conformance("M08", "K15")
def test_caddys_timeouts_do_not_end_websockets(serve: Serve, site: str) -> None:
    timeouts = (
        "timeouts {\nread_body 1s\nread_header 1s\nwrite 1s\nidle 1s\n"
        "read_body_idle 1s\nwrite_idle 1s\n}"
    )
    pings = "websocket {\nping_interval 500ms\nping_timeout 5s\n}"
    server = serve(site.rstrip("}") + pings + "\n}", servers=[timeouts], probe="/hello")
    with WebSocket(server, "/listens") as socket:
        assert socket.receive().payload == b"open"
        for _ in range(8):  # Four times as long as any of them.
            assert socket.receive().opcode == PING
            socket.send(PONG)
        socket.text("still here")
        while (frame := socket.receive()).opcode == PING:
            pass
        assert frame.payload == b"still here"


@pytest.mark.conformance("M03")
def test_frames_may_come_with_the_handshake(server: Server) -> None:
    """A client that does not wait for the answer loses nothing."""
    frame = b"\x81\x85\0\0\0\0early"
    with server.connect() as connection:
        lines = ["GET /listens HTTP/1.1", "Host: x", *(f"{n}: {v}" for n, v in HANDSHAKE), "", ""]
        connection.send("\r\n".join(lines).encode() + frame * 200)
        assert connection.head().status == 101
        received = connection._buffer
        while received.count(b"\x81\x05early") < 200:
            data = connection.socket.recv(65536)
            assert data
            received += data
        assert received.startswith(b"\x81\x04open")


@pytest.mark.conformance("K17")
def test_a_connection_may_be_used_before_the_upgrade(server: Server) -> None:
    with server.connect() as connection:
        connection.request("GET", "/hello")
        assert connection.response().text == "hello"
        connection.request("GET", "/listens", HANDSHAKE)
        assert connection.head().status == 101


@pytest.mark.smoke
def test_the_websockets_library_gets_along(server: Server) -> None:
    uri = f"ws://{HOST}:{server.port}/listens"
    with connect(uri, subprotocols=None, compression="deflate") as client:
        assert client.recv() == "open"
        for message in ("gr\u00fc\u00df", "", "x" * 1_000_000):
            client.send(message)
            assert client.recv() == message
        client.ping().wait(10)
        client.close(4000, "bye")
        with pytest.raises(ConnectionClosed):
            client.recv()
        assert client.close_code == 4000


def test_the_log_names_the_request_of_a_failed_websocket(server: Server) -> None:
    expected = server.expect_failure("KeyError")
    assert server.get("/nowhere", HANDSHAKE).status == 500
    server.check()
    (record,) = expected.records
    assert record.message.splitlines()[0] == "exception in ASGI application (websocket /nowhere)"
