"""Apps that misuse a websocket, or use it in unusual ways: the client sees a clear end."""

from __future__ import annotations

import pytest

from harness import http1
from harness.board import Board
from harness.caddyfile import asgi
from harness.health import ONE_THREAD
from harness.plugin import Serve
from harness.server import Server
from harness.websocket import CLOSE, HANDSHAKE, PING, PONG, TEXT, WebSocket


@pytest.fixture(scope="module", params=["asyncio", "uvloop"])
def server(serve_module: Serve, request: pytest.FixtureRequest) -> Server:
    options = ("lifespan off", f"loop {request.param}")
    return serve_module(asgi("websocket_mistakes:app", *options), probe="/hello")


def texts(socket: WebSocket) -> list[str]:
    """The messages until the close."""
    found = []
    while (frame := socket.receive()).opcode == TEXT:
        found.append(frame.payload.decode())
    assert frame.opcode == CLOSE
    return found


# Before accept


@pytest.mark.conformance("K03", "K05")
@pytest.mark.parametrize(
    "target",
    [
        *(
            f"/accepts_with_bad_headers?{kind}"
            for kind in ("crlf", "nul", "name-space", "name-empty", "text", "not-a-pair", "no-list")
        ),
        "/accepts_with_a_bad_subprotocol?bytes",
        "/accepts_with_a_bad_subprotocol?number",
        "/sends_first",
        "/sends_http",
        "/sends_nonsense",
        "/sends_no_type",
        "/exits",
        "/interrupts",
    ],
)
def test_a_mistake_before_accept_is_a_500(server: Server, target: str) -> None:
    server.expect_failure(".")
    response = server.get(target, [*HANDSHAKE, ("Sec-WebSocket-Protocol", "a, 7")])
    assert (response.status, response.broken) == (500, None)
    assert response.get("x-injected") is None
    assert response.get("sec-websocket-accept") is None


@pytest.mark.conformance("K03")
def test_an_app_that_is_cancelled_before_accept_is_a_500(server: Server) -> None:
    server.expect_failure("CancelledError")
    response = server.get("/cancels_itself", HANDSHAKE)
    assert (response.status, response.broken) == (500, None)


@pytest.mark.conformance("K05")
def test_a_failed_accept_leaves_nothing_in_the_next(server: Server) -> None:
    with WebSocket(server, "/tries_again") as socket:
        assert socket.all("x-first") == []
        assert socket.all("x-second") == ["ValueError"]
    response = server.get("/tries_again_and_denies", HANDSHAKE)
    assert (response.status, response.text) == (401, "no")
    assert response.get("x-first") is None
    assert response.get("x-second") == "ValueError"


@pytest.mark.conformance("K05")
def test_the_handshakes_own_headers_are_not_the_apps(server: Server) -> None:
    with WebSocket(server, "/sends_the_handshakes_own_headers") as socket:
        assert [value.lower() for value in socket.all("connection")] == ["upgrade"]
        assert [value.lower() for value in socket.all("upgrade")] == ["websocket"]
        (accept,) = socket.all("sec-websocket-accept")
        assert accept != "forged"
        assert socket.all("sec-websocket-extensions") == []
        assert socket.all("content-length") == []
        assert socket.all("transfer-encoding") == []
        assert socket.all("x-kept") == ["1"]
        assert texts(socket) == ["open"]


@pytest.mark.conformance("K05")
def test_headers_of_accept_may_be_any_iterable(server: Server) -> None:
    with WebSocket(server, "/accepts_a_generator_of_headers") as socket:
        assert socket.all("x-n") == ["0", "1", "2"]


@pytest.mark.conformance("K01")
def test_connect_may_be_received_after_accept(server: Server) -> None:
    with WebSocket(server, "/accepts_without_receiving") as socket:
        assert texts(socket) == ["websocket.connect"]


@pytest.mark.conformance("K01", "K09")
def test_a_client_that_leaves_before_accept_disconnects(server: Server, board: Board) -> None:
    server.allow_log("without accepting")
    with server.connect() as connection:
        connection.request_head("GET", "/receives_twice", [*HANDSHAKE, *board.headers])
        board.wait("waiting")
        assert board.lines("second") == []
    assert board.wait("second") == ["websocket.disconnect"]
    assert board.wait("code") == ["1006"]


# After accept


@pytest.mark.conformance("K04")
def test_any_exception_after_accept_closes_with_1011(server: Server) -> None:
    server.expect_app_log("KeyboardInterrupt")
    with WebSocket(server, "/interrupts_later") as socket:
        assert socket.receive().code == 1011


@pytest.mark.conformance("K04")
def test_an_app_that_is_cancelled_after_accept_closes_with_1011(server: Server) -> None:
    server.expect_app_log("CancelledError")
    with WebSocket(server, "/cancels_itself_later") as socket:
        assert socket.receive().code == 1011


@pytest.mark.conformance("K04")
def test_what_was_sent_before_an_exception_arrives(server: Server) -> None:
    server.expect_app_log("planted")
    with WebSocket(server, "/raises_after_messages") as socket:
        for number in range(100):
            assert socket.receive().payload == b"%d" % number
        assert socket.receive().code == 1011


@pytest.mark.conformance("K04")
def test_an_exception_after_the_apps_close_changes_nothing(server: Server) -> None:
    server.expect_app_log("planted")
    with WebSocket(server, "/raises_after_its_close") as socket:
        assert socket.receive().code == 4321
        socket.close(4321)
        assert socket.has_ended()


@pytest.mark.conformance("K04")
def test_an_exception_after_the_clients_close_is_logged(server: Server) -> None:
    server.expect_app_log("planted")
    with WebSocket(server, "/raises_after_the_disconnect") as socket:
        socket.close(4000)
        assert socket.receive().code == 4000
        assert socket.has_ended()


@pytest.mark.conformance("K07")
def test_nothing_can_be_sent_after_the_apps_close(server: Server, board: Board) -> None:
    with WebSocket(server, "/talks_after_its_close", board.headers) as socket:
        assert socket.receive().code == 4321
        assert set(board.wait("attempts", 3)) <= {"RuntimeError", "BrokenPipeError"}


@pytest.mark.conformance("K09")
@pytest.mark.parametrize(
    ("kind", "raised"),
    [
        ("text", "TypeError"),
        ("float", "TypeError"),
        ("huge", "ValueError|OverflowError"),
        ("negative", "ValueError"),
        ("5000", "ValueError"),
        ("1004", "ValueError"),
        ("1006", "ValueError"),
        ("1015", "ValueError"),
        ("2999", "ValueError"),
        ("bytes-reason", "TypeError"),
        ("long-reason", "ValueError"),
        ("surrogate-reason", "UnicodeEncodeError"),
    ],
)
def test_a_close_that_cannot_be_sent_raises_and_the_websocket_lives(
    server: Server, kind: str, raised: str
) -> None:
    with WebSocket(server, f"/closes_wrongly?{kind}") as socket:
        (found,) = texts(socket)
        assert found in raised.split("|")


@pytest.mark.conformance("K07")
@pytest.mark.parametrize(
    ("kind", "raised"),
    [
        ("surrogate", "UnicodeEncodeError"),
        ("number", "TypeError"),
        ("list", "TypeError"),
        ("both", "ValueError"),
    ],
)
def test_a_message_that_cannot_be_sent_raises_and_the_websocket_lives(
    server: Server, kind: str, raised: str
) -> None:
    with WebSocket(server, f"/sends_wrongly?{kind}") as socket:
        assert texts(socket) == [raised]


@pytest.mark.conformance("K07")
def test_bytes_may_be_bytearray_or_memoryview(server: Server) -> None:
    with WebSocket(server, "/sends_kinds_of_bytes") as socket:
        assert [socket.receive().payload for _ in range(3)] == [b"one", b"two", b"thr"]


# Ways to receive and send


@pytest.mark.conformance("E28", "K06")
def test_no_message_is_lost_to_timeouts_and_cancelled_tasks(server: Server) -> None:
    with WebSocket(server, "/receives_in_many_ways") as socket:
        assert [socket.receive().payload for _ in range(3)] == [b"timeout"] * 3
        assert socket.receive().payload == b"cancelled True"
        socket.text("first")
        socket.text("second")
        assert texts(socket) == ["first", "second"]


@pytest.mark.conformance("E28")
def test_two_receives_at_once_lose_nothing(server: Server) -> None:
    """Who gets which is nobody's promise."""
    with WebSocket(server, "/receives_in_two_tasks") as socket:
        socket.text("a")
        socket.text("b")
        (found,) = texts(socket)
        assert sorted(found.split(",")) == ["a", "b"]


def test_messages_of_many_tasks_arrive_whole_and_in_order(server: Server) -> None:
    with WebSocket(server, "/sends_from_many_tasks") as socket:
        found = texts(socket)
    assert found == [f"{number} " + "x" * 1000 for number in range(500)]


def test_a_thread_may_send_through_the_loop(serve: Serve) -> None:
    server = serve(asgi("websocket_mistakes:app", "lifespan off"), slack=ONE_THREAD)
    with WebSocket(server, "/sends_from_a_thread") as socket:
        assert texts(socket) == [str(number) for number in range(10)]


def test_a_child_task_may_do_the_talking(server: Server) -> None:
    with WebSocket(server, "/echoes_from_another_task") as socket:
        socket.text("one")
        assert socket.receive().payload == b"one"
        socket.close(1000)
        assert socket.receive().code == 1000


def test_a_task_that_outlives_the_app_cannot_send(server: Server, board: Board) -> None:
    with WebSocket(server, "/leaves_a_task_behind", board.headers) as socket:
        assert socket.receive().code == 1000
        board.post("go")
        assert set(board.wait("attempts")) <= {"RuntimeError", "BrokenPipeError"}
        assert board.wait("received") == ["websocket.disconnect"]


@pytest.mark.conformance("E33", "K08")
def test_an_app_that_blocks_its_loop_leaves_pings_and_others_alone(
    server: Server, board: Board
) -> None:
    with WebSocket(server, "/blocks_its_loop", board.headers) as socket:
        board.wait("running")
        socket.send(PING, b"alive?")
        pong = socket.receive()
        assert (pong.opcode, pong.payload) == (PONG, b"alive?")
        assert http1.request(server.canary, "GET", "/asgi").status == 200
        board.post("go")
        assert texts(socket) == ["unblocked"]
