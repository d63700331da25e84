"""WSGI apps that break the rules get a 500 or a broken connection, and never take others along."""

from __future__ import annotations

import pytest

from harness.board import Board
from harness.caddyfile import wsgi
from harness.http1 import Broken
from harness.plugin import Serve
from harness.server import Server

IN_WSGI = "^exception in WSGI application"


@pytest.fixture(scope="module")
def server(serve_module: Serve) -> Server:
    return serve_module(wsgi("wsgi_mistakes:app"), probe="/hello")


@pytest.mark.smoke
@pytest.mark.conformance("S33")
def test_an_exception_is_a_500_and_one_record_with_its_traceback(server: Server) -> None:
    expected = server.expect_failure(IN_WSGI)
    response = server.get("/raises")
    assert (response.status, response.broken) == (500, None)
    assert "planted" not in response.text
    server.check()
    (record,) = expected.records
    assert "Traceback (most recent call last)" in record.message
    assert record.message.rstrip().endswith("ValueError: planted: raises")
    assert record.fields["app"] == "wsgi_mistakes:app"


@pytest.mark.smoke
@pytest.mark.conformance("S02", "S03", "S08", "S19", "S33")
@pytest.mark.parametrize(
    ("target", "logged"),
    [
        ("/returns_nothing", "TypeError|None"),
        ("/never_starts", "start_response"),
        ("/starts_twice", "AssertionError"),
        ("/raises_on_first_next", "planted: first next"),
        ("/text_block", "TypeError"),
        ("/number_block", "TypeError"),
        ("/text_instead_of_blocks", "TypeError"),
        ("/exits", "SystemExit"),
        ("/interrupts", "KeyboardInterrupt"),
        ("/generator_exits", "GeneratorExit"),
        ("/headers_are_no_list", "TypeError|AssertionError"),
        ("/promise_is_no_number", "(?i)content-length"),
    ],
)
def test_a_mistake_before_the_first_block_is_a_500(
    server: Server, target: str, logged: str
) -> None:
    server.expect_failure(logged)
    response = server.get(target)
    assert (response.status, response.broken) == (500, None)


@pytest.mark.conformance("S07", "S11")
def test_an_error_after_empty_blocks_is_still_a_clean_500(server: Server, board: Board) -> None:
    server.expect_failure("planted: after empty blocks")
    response = server.get("/empty_blocks_then_raises", board.headers)
    assert (response.status, response.broken) == (500, None)
    assert board.wait("closed") == [""]


@pytest.mark.conformance("S02", "S19", "S33")
def test_a_connection_outlives_a_500(server: Server) -> None:
    server.expect_failure("planted: raises", times=3)
    with server.connect() as connection:
        for _ in range(3):
            connection.request("GET", "/raises")
            assert connection.response().status == 500
            connection.request("GET", "/hello")
            assert connection.response().text == "hello"


@pytest.mark.conformance("S21", "S27")
@pytest.mark.parametrize(
    "status", ["99", "1000", "text", "empty", "negative", "number", "none", "newline", "nul"]
)
def test_a_status_that_http_cannot_carry_is_a_500(server: Server, status: str) -> None:
    server.expect_failure("ValueError|TypeError|AssertionError")
    response = server.get(f"/bad_status?{status}")
    assert (response.status, response.broken) == (500, None)
    assert response.get("x-injected") is None


@pytest.mark.smoke
@pytest.mark.conformance("S21")
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
        "name-not-latin",
        "value-not-latin",
        "value-bytes",
        "value-number",
        "not-a-pair",
        "not-a-tuple",
    ],
)
def test_a_header_that_http_cannot_carry_is_a_500(server: Server, header: str) -> None:
    server.expect_failure("Error: ")
    response = server.get(f"/bad_header?{header}")
    assert (response.status, response.broken) == (500, None)
    assert response.get("x-injected") is None
    assert response.get("x-bad") is None


@pytest.mark.smoke
@pytest.mark.conformance("S09", "S11", "S33")
@pytest.mark.parametrize(
    ("target", "logged"),
    [
        ("/raises_mid_stream", "planted: mid stream"),
        ("/exits_mid_stream", "SystemExit"),
        ("/text_block_mid_stream", "TypeError"),
    ],
)
def test_a_mistake_mid_stream_breaks_the_connection(
    server: Server, board: Board, target: str, logged: str
) -> None:
    server.expect_app_log(logged)
    response = server.get(target, board.headers)
    assert response.status == 200
    assert response.broken is not None
    assert board.wait("closed") == [""]


@pytest.mark.conformance("S09")
def test_a_mistake_mid_stream_resets_the_http_2_stream(server: Server, board: Board) -> None:
    server.expect_app_log("planted: mid stream")
    with server.connect2() as connection:
        stream = connection.request("GET", "/raises_mid_stream", [("x-board", str(board.folder))])
        assert (stream.status, stream.ended) == (200, False)
        assert stream.reset is not None
        assert connection.request("GET", "/hello").body == b"hello"


@pytest.mark.conformance("S05")
def test_exc_info_after_the_head_is_raised_again_and_breaks_the_connection(server: Server) -> None:
    server.expect_app_log("planted: too late")
    response = server.get("/replaces_a_sent_head")
    assert response.status == 200
    assert response.broken is not None
    assert b"must not" not in response.body


@pytest.mark.smoke
@pytest.mark.conformance("S15")
@pytest.mark.parametrize("target", ["/promises_more_than_it_sends", "/promises_and_sends_nothing"])
def test_a_body_shorter_than_promised_looks_broken(server: Server, target: str) -> None:
    server.expect_failure_or_abort("(?i)content-length")
    response = server.get(target)
    assert response.broken is not None or response.status == 500
    assert response.body in (b"", b"12345"), "what there was, and only once"


@pytest.mark.conformance("S15")
def test_a_body_longer_than_promised_smuggles_nothing(server: Server) -> None:
    server.allow_log(".")
    with server.connect() as connection:
        connection.request("GET", "/sends_more_than_it_promised")
        response = connection.response()
        assert response.body in (b"12345", b"")
        assert response.get("x-smuggled") is None
        # The connection is closed or carries the next answer, and nothing in between.
        try:
            connection.request("GET", "/hello")
            second = connection.response()
        except (Broken, ConnectionError):
            return
        assert second.text == "hello"


@pytest.mark.conformance("S11")
def test_an_error_in_close_is_logged_and_does_not_harm_the_answer(server: Server) -> None:
    server.expect_app_log("planted: close")
    response = server.get("/close_raises")
    assert response.status == 200
    assert response.body == b"sent before close"


@pytest.mark.conformance("M08")
def test_caddys_error_routes_answer_for_a_failed_app(serve: Serve) -> None:
    routes = 'handle_errors {\n respond "sorry: {err.status_code}" {err.status_code}\n}'
    server = serve(f"{wsgi('wsgi_mistakes:app')}\n{routes}")
    server.expect_failure_or_abort("planted: raises")
    response = server.get("/raises")
    assert (response.status, response.text) == (500, "sorry: 500")
