"""ASGI apps that break the rules get a 500 or a broken connection, and never take others along."""

from __future__ import annotations

import sys

import pytest

from harness import http1
from harness.board import Board
from harness.caddyfile import asgi
from harness.plugin import Serve
from harness.server import Server
from harness.ways import EVERY_WAY, HTTP1, WAYS, ask, ask2, connect1

IN_ASGI = "^exception in ASGI application"

GROUPS = ["/raises_a_group"] if sys.version_info >= (3, 11) else []


@pytest.fixture(scope="module")
def server(serve_module: Serve) -> Server:
    app = asgi("asgi_mistakes:app", "lifespan off")
    return serve_module(app, app, tls=True, probe="/hello")


@pytest.mark.smoke
@pytest.mark.conformance("E10")
def test_an_exception_is_a_500_and_one_record_with_its_traceback(server: Server) -> None:
    expected = server.expect_failure(IN_ASGI)
    response = server.get("/raises")
    assert (response.status, response.broken) == (500, None)
    assert "planted" not in response.text
    server.check()
    (record,) = expected.records
    assert "Traceback (most recent call last)" in record.message
    assert record.message.rstrip().endswith("ValueError: planted: raises")
    assert record.fields["app"] == "asgi_mistakes:app"


@pytest.mark.smoke
@pytest.mark.conformance("E09", "E13", "E32")
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(
    ("target", "logged"),
    [
        *[(target, "planted: in a group") for target in GROUPS],
        ("/returns_without_sending", "without sending a response"),
        ("/reads_and_returns", "without sending a response"),
        ("/exits", "SystemExit"),
        ("/interrupts", "KeyboardInterrupt"),
        ("/generator_exits", "GeneratorExit"),
        ("/stops_async_iteration", "StopAsyncIteration"),
        ("/awaits_forever_yielded_nonsense", "RuntimeError"),
        ("/body_before_start", "RuntimeError"),
        ("/starts_twice", "RuntimeError"),
    ],
)
def test_a_mistake_before_the_first_body_is_a_500(
    server: Server, way: str, target: str, logged: str
) -> None:
    server.expect_failure(logged)
    response = ask(server, way, "GET", target)
    assert (response.status, response.broken) == (500, None)


@pytest.mark.conformance("E09", "E32")
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("target", ["/cancels_itself", "/raises_cancelled_error"])
def test_a_request_that_cancels_itself_is_a_500(server: Server, way: str, target: str) -> None:
    server.expect_failure("CancelledError")
    response = ask(server, way, "GET", target)
    assert (response.status, response.broken) == (500, None)


@pytest.mark.smoke
@pytest.mark.conformance("E10", "E11")
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("target", ["/raises_after_start", "/returns_after_start"])
def test_a_start_without_a_body_is_a_clean_500(server: Server, way: str, target: str) -> None:
    server.expect_failure("planted: after start|without completing its response")
    response = ask(server, way, "GET", target)
    assert (response.status, response.broken) == (500, None)


@pytest.mark.conformance("E10", "E23")
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("target", ["/raises", "/exits", "/raises_after_start"])
def test_a_mistake_is_a_500_for_head_too(server: Server, way: str, target: str) -> None:
    server.expect_failure("planted|SystemExit")
    response = ask(server, way, "HEAD", target)
    assert (response.status, response.body, response.broken) == (500, b"", None)


@pytest.mark.conformance("E09", "E10", "E32")
def test_a_connection_outlives_a_500(server: Server) -> None:
    server.expect_failure("planted: raises", times=3)
    with server.connect() as connection:
        for _ in range(3):
            connection.request("GET", "/raises")
            assert connection.response().status == 500
            connection.request("GET", "/hello")
            assert connection.response().text == "hello"


# What HTTP or ASGI cannot carry

MESSAGES = [
    "message/unknown",
    "message/websocket",
    "message/lifespan",
    "message/request",
    "message/bytes-type",
    "message/none-type",
    "message/list-type",
    "message/no-type",
    "message/empty",
    "message/text",
    "message/none",
    "message/pairs",
    "message/no-status",
    "message/body-too-early",
]
STATUSES = [
    "status/99",
    "status/100",
    "status/101",
    "status/103",
    "status/199",
    "status/1000",
    "status/zero",
    "status/negative",
    "status/huge",
    "status/text",
    "status/bytes",
    "status/none",
    "status/true",
    "status/float",
]
HEADERS = [
    "header/cr",
    "header/lf",
    "header/crlf",
    "header/nul",
    "header/name-space",
    "header/name-colon",
    "header/name-crlf",
    "header/name-nul",
    "header/name-not-ascii",
    "header/name-empty",
    "header/pseudo",
    "header/text",
    "header/text-name",
    "header/text-value",
    "header/number",
    "header/none",
    "header/not-a-pair",
    "header/three",
    "header/bytes-pair",
    "header/not-a-tuple",
    "headers/number",
    "headers/none",
    "headers/text",
    "headers/failing",
]
LENGTHS = [
    "length/text",
    "length/negative",
    "length/signed",
    "length/fraction",
    "length/hexadecimal",
    "length/empty",
    "length/list",
    "length/huge",
    "length/different",
]
BODIES = ["body/text", "body/number", "body/none", "body/list", "body/pair"]
ALL = [*MESSAGES, *STATUSES, *HEADERS, *LENGTHS, *BODIES]


@pytest.mark.smoke
@pytest.mark.conformance("E13", "E18", "E19", "E20")
@pytest.mark.parametrize("mistake", ALL)
def test_what_cannot_be_sent_is_a_500(server: Server, mistake: str) -> None:
    server.expect_failure("Error")
    response = server.get(f"/makes_a_mistake?{mistake}")
    assert (response.status, response.interim, response.broken) == (500, [], None)
    for name in ("x-injected", "x-bad", "x-good"):
        assert response.get(name) is None


@pytest.mark.conformance("E18", "E19", "E20")
@pytest.mark.parametrize("mistake", [*STATUSES, *HEADERS, *LENGTHS, *BODIES])
def test_what_cannot_be_sent_is_a_500_over_http_2(server: Server, mistake: str) -> None:
    server.expect_failure("Error")
    response = ask(server, "HTTP/2", "GET", f"/makes_a_mistake?{mistake}")
    assert (response.status, response.interim, response.broken) == (500, [], None)
    assert response.get("x-bad") is None


@pytest.mark.smoke
@pytest.mark.conformance("E13", "E18", "E19", "E20")
@pytest.mark.parametrize("mistake", ALL)
def test_the_mistake_is_raised_in_the_app_which_may_go_on(server: Server, mistake: str) -> None:
    response = server.get(f"/catches_its_mistake?{mistake}")
    assert (response.status, response.broken) == (200, None)
    known = {"TypeError", "ValueError", "RuntimeError", "OverflowError", "LookupError"}
    assert response.text in known
    for name in ("x-injected", "x-bad", "x-good"):
        assert response.get(name) is None
    assert response.get("content-length") == str(len(response.body))


# After the head


@pytest.mark.smoke
@pytest.mark.conformance("E11", "E12", "E13", "E20", "E32")
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(
    ("target", "logged"),
    [
        ("/raises_mid_stream", "planted: mid stream"),
        ("/returns_mid_stream", "without completing its response"),
        ("/exits_mid_stream", "SystemExit"),
        ("/interrupts_mid_stream", "KeyboardInterrupt"),
        ("/text_body_mid_stream", "TypeError"),
        ("/starts_again_mid_stream", "RuntimeError"),
    ],
)
def test_a_mistake_mid_stream_breaks_the_answer(
    server: Server, way: str, target: str, logged: str
) -> None:
    server.expect_app_log(logged)
    response = ask(server, way, "GET", target)
    assert (response.status, response.body) == (200, b"x" * 1000)
    assert response.broken is not None


@pytest.mark.conformance("E12")
@pytest.mark.parametrize("way", EVERY_WAY)
def test_a_stream_that_broke_before_its_first_byte_looks_broken(server: Server, way: str) -> None:
    server.expect_failure_or_abort("planted: mid stream")
    response = ask(server, way, "GET", "/raises_in_an_empty_stream")
    assert response.status == 500 or response.broken is not None


@pytest.mark.conformance("E12", "E32")
@pytest.mark.parametrize("way", WAYS)
def test_a_request_that_cancels_itself_mid_stream_breaks_the_answer(
    server: Server, way: str
) -> None:
    server.expect_app_log("CancelledError")
    response = ask(server, way, "GET", "/is_cancelled_mid_stream")
    assert (response.status, response.body) == (200, b"x" * 1000)
    assert response.broken is not None


@pytest.mark.conformance("E13")
@pytest.mark.parametrize("way", WAYS)
def test_a_mistake_mid_stream_that_the_app_catches_breaks_nothing(server: Server, way: str) -> None:
    response = ask(server, way, "GET", "/catches_a_mistake_mid_stream")
    assert (response.status, response.broken) == (200, None)
    assert response.text == "one caught caught caught caught two"


@pytest.mark.conformance("E12")
@pytest.mark.parametrize("way", HTTP1)
def test_a_mistake_mid_stream_closes_an_http_1_connection(server: Server, way: str) -> None:
    server.expect_app_log("planted: mid stream")
    with connect1(server, way) as connection:
        connection.request("GET", "/raises_mid_stream")
        assert connection.response().broken is not None
        assert connection.is_closed()


@pytest.mark.conformance("E11", "E12")
def test_a_mistake_mid_stream_leaves_an_http_2_connection_usable(server: Server) -> None:
    server.expect_app_log("planted: mid stream|without completing its response", times=2)
    with server.connect2() as connection:
        for target in ("/raises_mid_stream", "/returns_mid_stream"):
            assert ask2(connection, "GET", target).broken is not None
            assert ask2(connection, "GET", "/hello").text == "hello"


@pytest.mark.conformance("E11", "E12", "S30")
@pytest.mark.parametrize("target", ["/raises_mid_stream", "/returns_mid_stream"])
def test_a_mistake_mid_stream_can_be_seen_over_http_1_0_too(server: Server, target: str) -> None:
    """A body that ends with the connection looks whole unless the connection is reset."""
    server.expect_app_log("planted: mid stream|without completing its response")
    response = http1.request(server.ports[1], "GET", target, version="HTTP/1.0")
    assert response.status == 200
    assert response.broken is not None


# Against the Content-Length


@pytest.mark.smoke
@pytest.mark.conformance("E21", "S15")
@pytest.mark.parametrize("way", EVERY_WAY)
@pytest.mark.parametrize("target", ["/too_short", "/too_short_in_pieces", "/nothing_of_it"])
def test_a_body_shorter_than_promised_looks_broken(server: Server, way: str, target: str) -> None:
    server.expect_failure_or_abort("(?i)content-length")
    response = ask(server, way, "GET", target)
    assert response.broken is not None or response.status == 500
    if response.status == 200:
        assert response.body in (b"", b"123", b"12345"), "what there was, and only once"


@pytest.mark.smoke
@pytest.mark.conformance("E21", "S15")
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("target", ["/too_long", "/too_long_in_pieces"])
def test_a_body_longer_than_promised_smuggles_nothing(
    server: Server, way: str, target: str
) -> None:
    server.expect_failure_or_abort("(?i)content-length")
    response = ask(server, way, "GET", target)
    assert response.get("x-smuggled") is None
    if response.status == 200:
        assert response.body in (b"", b"12345")


@pytest.mark.conformance("E21", "S15")
@pytest.mark.parametrize("target", ["/too_long", "/too_long_in_pieces", "/too_short"])
def test_no_answer_comes_after_one_that_broke_its_promise(server: Server, target: str) -> None:
    """The connection is closed or carries the next answer, and nothing in between."""
    server.expect_failure_or_abort("(?i)content-length")
    with server.connect() as connection:
        connection.request("GET", target)
        connection.response()
        try:
            connection.request("GET", "/hello")
            second = connection.response()
        except (http1.Broken, OSError):
            return
        assert second.text == "hello"


@pytest.mark.conformance("E21", "E23", "S15")
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("target", ["/too_short", "/too_short_in_pieces", "/nothing_of_it"])
def test_a_length_without_its_body_is_right_for_head(server: Server, way: str, target: str) -> None:
    response = ask(server, way, "HEAD", target)
    assert (response.status, response.get("content-length")) == (200, "10")
    assert response.broken is None


# After the response


@pytest.mark.conformance("E13")
@pytest.mark.parametrize("way", WAYS)
def test_messages_after_the_end_raise_and_leave_the_answer_whole(
    server: Server, board: Board, way: str
) -> None:
    response = ask(server, way, "GET", "/body_after_the_end", board.headers)
    assert (response.status, response.text, response.broken) == (200, "complete", None)
    assert board.wait("raised", 3) == ["RuntimeError"] * 3


@pytest.mark.conformance("E12", "E32")
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("target", ["/raises_after_the_end", "/exits_after_the_end"])
def test_an_exception_after_the_end_is_logged_and_the_answer_is_whole(
    server: Server, way: str, target: str
) -> None:
    server.expect_app_log("planted: after the end|SystemExit")
    response = ask(server, way, "GET", target)
    assert (response.status, response.text, response.broken) == (200, "complete", None)


# Apps of other shapes


@pytest.mark.conformance("E09", "E40")
@pytest.mark.parametrize("name", ["returns_a_future", "returns_an_awaitable"])
def test_an_app_may_return_anything_that_can_be_awaited(serve: Serve, name: str) -> None:
    server = serve(asgi(f"asgi_mistakes:{name}", "lifespan off"))
    assert server.get("/").text == '"an app of another shape"'


@pytest.mark.conformance("E09", "E40")
@pytest.mark.parametrize(
    ("name", "logged"),
    [
        ("returns_nothing", "TypeError"),
        ("returns_a_list", "TypeError"),
        ("raises_at_once", "planted: no coroutine"),
        ("yields", "Error"),
        ("yields_asynchronously", "Error"),
    ],
)
def test_an_app_that_returns_nothing_to_await_is_a_500(
    serve: Serve, name: str, logged: str
) -> None:
    server = serve(asgi(f"asgi_mistakes:{name}", "lifespan off"))
    server.expect_failure(logged)
    assert server.get("/").status == 500


# Caddy's answer


@pytest.mark.conformance("E10", "M08")
def test_caddys_error_routes_answer_for_a_failed_app(serve: Serve) -> None:
    routes = 'handle_errors {\n respond "sorry: {err.status_code}" {err.status_code}\n}'
    server = serve(f"{asgi('asgi_mistakes:app', 'lifespan off')}\n{routes}")
    server.expect_failure_or_abort("planted: raises")
    response = server.get("/raises")
    assert (response.status, response.text) == (500, "sorry: 500")
