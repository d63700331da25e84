"""How a websocket comes about, or does not (conformance section K)."""

from __future__ import annotations

import base64
import hashlib
import json
import struct

import pytest

from harness.board import Board
from harness.caddyfile import asgi, wsgi
from harness.plugin import Serve
from harness.server import Server
from harness.waiting import wait_for
from harness.websocket import HANDSHAKE, KEY, WebSocket

pytestmark = pytest.mark.smoke


@pytest.fixture(scope="module", params=["asyncio", "uvloop"])
def server(serve_module: Serve, request: pytest.FixtureRequest) -> Server:
    options = ("lifespan off", f"loop {request.param}")
    return serve_module(asgi("websocket_cases:app", *options), probe="/hello")


def test_the_handshake_answers_the_key(server: Server) -> None:
    with WebSocket(server, "/echo") as socket:
        magic = KEY + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"  # RFC 6455 section 1.3
        digest = base64.b64encode(hashlib.sha1(magic.encode()).digest()).decode()
        assert socket.all("sec-websocket-accept") == [digest]


@pytest.mark.conformance("K01")
def test_the_client_waits_until_the_app_accepts(server: Server, board: Board) -> None:
    with server.connect() as connection:
        connection.request_head("GET", "/waits", [*HANDSHAKE, *board.headers])
        board.wait("connecting")
        connection.socket.setblocking(False)
        with pytest.raises(BlockingIOError):
            connection.socket.recv(1)
        connection.socket.settimeout(10)
        board.post("go")
        assert connection.socket.recv(12) == b"HTTP/1.1 101"


@pytest.mark.conformance("K02")
def test_a_close_before_accept_is_403(server: Server) -> None:
    with WebSocket(server, "/refuses") as socket:
        assert socket.refusal is not None
        assert (socket.refusal.status, socket.refusal.body) == (403, b"")


@pytest.mark.conformance("K02")
def test_an_app_may_deny_with_a_response_of_its_own(server: Server) -> None:
    with WebSocket(server, "/denies") as socket:
        assert socket.refusal is not None
        assert (socket.refusal.status, socket.refusal.body) == (401, b"go away")
        assert socket.refusal.get("x-why") == "no"


@pytest.mark.conformance("K03")
@pytest.mark.parametrize(
    ("case", "record"), [("raises_early", "planted"), ("returns_early", "without accepting")]
)
def test_an_app_that_fails_before_accept_is_a_500(server: Server, case: str, record: str) -> None:
    server.expect_failure(record)
    with WebSocket(server, f"/{case}") as socket:
        assert socket.refusal is not None
        assert socket.refusal.status == 500


@pytest.mark.conformance("K05")
def test_subprotocols_of_several_headers_are_offered_and_one_is_chosen(server: Server) -> None:
    offer = [("Sec-WebSocket-Protocol", "a, b"), ("Sec-WebSocket-Protocol", "c")]
    with WebSocket(server, "/chooses?c", offer) as socket:
        assert socket.all("sec-websocket-protocol") == ["c"]
        assert socket.all("x-a") == ["1"]
        assert socket.all("set-cookie") == ["a=1", "b=2"]
        assert json.loads(socket.receive().payload) == ["a", "b", "c"]


@pytest.mark.conformance("K05")
def test_without_a_choice_there_is_no_subprotocol(server: Server) -> None:
    with WebSocket(server, "/chooses", [("Sec-WebSocket-Protocol", "a")]) as socket:
        assert socket.all("sec-websocket-protocol") == []
        assert json.loads(socket.receive().payload) == ["a"]


@pytest.mark.conformance("K05")
def test_a_subprotocol_that_was_not_offered_is_an_error_of_the_app(server: Server) -> None:
    server.expect_failure("did not offer the subprotocol 'z'", times=2)
    for target in ("/chooses?z", "/chooses_by_header?z"):
        with WebSocket(server, target, [("Sec-WebSocket-Protocol", "a")]) as socket:
            assert socket.refusal is not None
            assert socket.refusal.status == 500


@pytest.mark.conformance("K05")
def test_a_subprotocol_chosen_by_a_header_is_the_only_one(server: Server) -> None:
    offer = [("Sec-WebSocket-Protocol", "a, b")]
    with WebSocket(server, "/chooses_by_header?b", offer) as socket:
        assert socket.all("sec-websocket-protocol") == ["b"]
    server.expect_failure("one subprotocol only")
    with WebSocket(server, "/chooses_by_header?a,b", offer) as socket:
        assert socket.refusal is not None
        assert socket.refusal.status == 500


@pytest.mark.parametrize(
    ("changed", "status"),
    [
        (("Sec-WebSocket-Version", "8"), 426),
        (("Sec-WebSocket-Key", "too short"), 400),
        (("Sec-WebSocket-Key", ""), 400),
    ],
)
def test_a_broken_handshake_does_not_reach_the_app(
    server: Server, changed: tuple[str, str], status: int
) -> None:
    server.allow_log("websocket:")
    headers = [pair for pair in HANDSHAKE if pair[0] != changed[0]]
    response = server.get("/raises_early", [*headers, changed])
    assert response.status == status
    if status == 426:
        assert response.get("sec-websocket-version") == "13"
        assert response.get("upgrade") == "websocket"
        assert response.get("connection") == "Upgrade"


@pytest.mark.parametrize("announced", [1000, 100_000_000])
@pytest.mark.parametrize(
    "framing", ["Transfer-Encoding: chunked", "Content-Length: 9", "Content-Length: 70000"]
)
def test_a_handshake_with_a_body_is_refused_unread(
    server: Server, framing: str, announced: int
) -> None:
    """What is in the body looks like a record of our own frame reader, longer than it is."""
    server.allow_log("websocket:")
    record = b"\x02" + struct.pack("<I", announced) + b"AAAA"
    body = b"%x\r\n%b\r\n" % (len(record), record) if "chunked" in framing else record
    name, _, value = framing.partition(": ")
    with server.connect() as connection:
        connection.request_head("GET", "/echo", [*HANDSHAKE, (name, value)])
        connection.socket.sendall(body)
        response = connection.response()
        assert response.status == 400
        assert response.get("connection") == "close"
        assert b"AAAA" not in response.body


@pytest.mark.parametrize("method", ["POST", "HEAD"])
def test_only_get_asks_for_a_websocket(server: Server, method: str) -> None:
    assert server.request(method, "/", HANDSHAKE).status == 200


@pytest.mark.conformance("K17", "M09")
def test_http_1_0_and_connect_ask_for_no_websocket(server: Server) -> None:
    assert server.get("/hello", HANDSHAKE, version="HTTP/1.0").text == '"hello"'
    with server.connect() as connection:
        connection.request_head("CONNECT", "/echo", HANDSHAKE)
        assert connection.socket.recv(12) != b"HTTP/1.1 101"


@pytest.mark.conformance("K17")
def test_a_wsgi_app_sees_an_ordinary_request(serve: Serve) -> None:
    server = serve(wsgi("wsgi_request:app"), probe="/hello")
    assert server.get("/hello", HANDSHAKE).status == 200


@pytest.mark.conformance("A12")
def test_the_scope_of_a_websocket(server: Server) -> None:
    with WebSocket(server, "/describes_its_scope?a=b") as socket:
        scope = json.loads(socket.receive().payload)
    assert scope.pop("client")[0] == "127.0.0.1"
    assert scope.pop("server") == ["127.0.0.1", server.port]
    assert scope == {
        "type": "websocket",
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": "1.1",
        "scheme": "ws",
        "path": "/describes_its_scope",
        "root_path": "",
        "path_types": ["bytes", "str"],
        "subprotocols": [],
        "extensions": {"websocket.http.response": {}},
    }


@pytest.mark.conformance("A10", "A12")
def test_over_tls_the_scheme_is_wss(serve: Serve) -> None:
    server = serve(asgi("websocket_cases:app", "lifespan off"), probe="/hello", tls=True)
    with WebSocket(server, "/describes_its_scope") as socket:
        scope = json.loads(socket.receive().payload)
    assert scope["scheme"] == "wss"
    tls = scope["extensions"]["tls"]
    assert (tls["tls_version"], tls["client_cert_chain"]) == (0x0304, [])
    assert tls["cipher_suite"] in range(0x1301, 0x1306)


@pytest.mark.conformance("A07")
def test_a_stripped_prefix_becomes_root_path(serve: Serve) -> None:
    block = asgi("websocket_cases:root", "lifespan off")
    server = serve(f"handle_path /ws/* {{\n{block}\n}}", probe=None)
    with WebSocket(server, "/ws/describes_its_scope") as socket:
        scope = json.loads(socket.receive().payload)
    assert (scope["root_path"], scope["path"]) == ("/ws", "/ws/describes_its_scope")


@pytest.mark.conformance("M08")
def test_caddys_headers_and_access_log_know_of_the_upgrade(serve: Serve) -> None:
    block = asgi("websocket_cases:app", "lifespan off")
    server = serve(f"header X-Site yes\nlog\n{block}", probe="/hello")
    with WebSocket(server, "/echo") as socket:
        assert socket.all("x-site") == ["yes"]
        wait_for(lambda: server.log.find("handled request", status=101), "the access log")
        socket.text("hi")
        assert socket.receive().payload == b"hi"


@pytest.mark.conformance("K21")
def test_websockets_over_http_2_are_not_advertised(server: Server) -> None:
    with server.connect2() as connection:
        number = connection.start("GET", "/hello", [])
        assert connection.response(number).status == 200
        assert not connection.takes_extended_connect
