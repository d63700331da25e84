"""ASGI apps that break the rules get a 500 or a broken connection, and never take others along."""

from __future__ import annotations

import pytest

from harness.board import Board
from harness.caddyfile import asgi
from harness.http1 import Broken
from harness.plugin import Serve
from harness.server import Server

IN_ASGI = "^exception in ASGI application"


@pytest.fixture(scope="module")
def server(serve_module: Serve) -> Server:
    return serve_module(asgi("asgi_mistakes:app", "lifespan off"), probe="/hello")


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
@pytest.mark.parametrize(
    ("target", "logged"),
    [
        ("/returns_without_sending", "(?i)without|response"),
        ("/exits", "SystemExit"),
        ("/interrupts", "KeyboardInterrupt"),
        ("/body_before_start", "Error"),
        ("/starts_twice", "Error"),
        ("/headers_are_no_list", "TypeError"),
        ("/text_body", "TypeError"),
        ("/promise_is_no_number", "Error"),
        ("/two_promises", "Error"),
    ],
)
def test_a_mistake_before_the_first_body_is_a_500(server: Server, target: str, logged: str) -> None:
    server.expect_failure(logged)
    response = server.get(target)
    assert (response.status, response.broken) == (500, None)


@pytest.mark.smoke
@pytest.mark.conformance("E10", "E11")
@pytest.mark.parametrize("target", ["/raises_after_start", "/returns_after_start"])
def test_a_start_without_a_body_is_a_500_or_broken(server: Server, target: str) -> None:
    server.expect_failure_or_abort(".")
    response = server.get(target)
    assert response.status == 500 or response.broken is not None


@pytest.mark.conformance("E13")
@pytest.mark.parametrize(
    "message", ["unknown", "websocket", "no-type", "text", "none", "no-status"]
)
def test_a_message_that_makes_no_sense_raises_in_the_app(server: Server, message: str) -> None:
    server.expect_failure("Error")
    assert server.get(f"/bad_message?{message}").status == 500


@pytest.mark.smoke
@pytest.mark.conformance("E18")
@pytest.mark.parametrize(
    "status", ["99", "1000", "zero", "negative", "huge", "text", "none", "true", "float"]
)
def test_a_status_that_http_cannot_carry_is_a_500(server: Server, status: str) -> None:
    server.expect_failure("ValueError|TypeError|OverflowError")
    response = server.get(f"/bad_status?{status}")
    assert (response.status, response.broken) == (500, None)


@pytest.mark.smoke
@pytest.mark.conformance("E19")
@pytest.mark.parametrize(
    "header",
    [
        "cr",
        "lf",
        "crlf",
        "nul",
        "name-space",
        "name-colon",
        "name-crlf",
        "name-empty",
        "text",
        "number",
        "not-a-pair",
        "not-a-tuple",
    ],
)
def test_a_header_that_http_cannot_carry_is_a_500(server: Server, header: str) -> None:
    server.expect_failure("ValueError|TypeError")
    response = server.get(f"/bad_header?{header}")
    assert (response.status, response.broken) == (500, None)
    assert response.get("x-injected") is None
    assert response.get("x-bad") is None


@pytest.mark.smoke
@pytest.mark.conformance("E11", "E12", "E20", "E32")
@pytest.mark.parametrize(
    ("target", "logged"),
    [
        ("/raises_mid_stream", "planted: mid stream"),
        ("/returns_mid_stream", "."),
        ("/exits_mid_stream", "SystemExit"),
        ("/text_body_mid_stream", "TypeError"),
        ("/starts_again_mid_stream", "Error"),
    ],
)
def test_a_mistake_mid_stream_breaks_the_connection(
    server: Server, target: str, logged: str
) -> None:
    server.expect_app_log(logged)
    response = server.get(target)
    assert response.status == 200
    assert response.broken is not None


@pytest.mark.conformance("E11", "E12")
@pytest.mark.parametrize("target", ["/raises_mid_stream", "/returns_mid_stream"])
def test_a_mistake_mid_stream_resets_the_http_2_stream(server: Server, target: str) -> None:
    server.expect_app_log(".")
    with server.connect2() as connection:
        stream = connection.request("GET", target)
        assert (stream.status, stream.ended) == (200, False)
        assert stream.reset is not None
        assert connection.request("GET", "/hello").body == b"hello"


@pytest.mark.conformance("E12")
def test_a_mistake_mid_stream_breaks_a_tls_connection(serve: Serve) -> None:
    server = serve(asgi("asgi_mistakes:app", "lifespan off"), tls=True)
    server.expect_app_log("planted: mid stream", times=2)
    assert server.get("/raises_mid_stream").broken is not None
    with server.connect2() as connection:
        assert connection.request("GET", "/raises_mid_stream").reset is not None
        assert connection.request("GET", "/hello").body == b"hello"


@pytest.mark.conformance("S15")
def test_a_body_shorter_than_promised_looks_broken(server: Server) -> None:
    server.expect_failure_or_abort(".")
    response = server.get("/promises_more_than_it_sends")
    assert response.broken is not None or response.status == 500


@pytest.mark.conformance("S15")
def test_a_body_longer_than_promised_smuggles_nothing(server: Server) -> None:
    server.allow_log(".")
    with server.connect() as connection:
        connection.request("GET", "/sends_more_than_it_promised")
        assert connection.response().body in (b"12345", b"")
        # The connection is closed or carries the next answer, and nothing in between.
        try:
            connection.request("GET", "/hello")
            second = connection.response()
        except (Broken, ConnectionError):
            return
        assert second.text == "hello"


@pytest.mark.conformance("E13")
def test_a_body_after_the_end_leaves_the_answer_whole(server: Server, board: Board) -> None:
    server.allow_log(IN_ASGI)
    response = server.get("/body_after_the_end", board.headers)
    assert (response.status, response.text, response.broken) == (200, "complete", None)
    board.wait("sent")


@pytest.mark.conformance("E12")
def test_an_exception_after_the_end_is_logged_and_the_answer_is_whole(server: Server) -> None:
    server.expect_app_log("planted: after the end")
    response = server.get("/raises_after_the_end")
    assert (response.status, response.text, response.broken) == (200, "complete", None)


@pytest.mark.conformance("E10", "M08")
def test_caddys_error_routes_answer_for_a_failed_app(serve: Serve) -> None:
    routes = 'handle_errors {\n respond "sorry: {err.status_code}" {err.status_code}\n}'
    server = serve(f"{asgi('asgi_mistakes:app', 'lifespan off')}\n{routes}")
    server.expect_failure_or_abort("planted: raises")
    response = server.get("/raises")
    assert (response.status, response.text) == (500, "sorry: 500")
