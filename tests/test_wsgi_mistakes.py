"""WSGI apps that break the rules get a 500 or a broken connection, and never take others along."""

from __future__ import annotations

import pytest

from harness import http1
from harness.board import Board
from harness.caddyfile import wsgi
from harness.plugin import Serve
from harness.server import Server
from harness.ways import EVERY_WAY, HTTP1, WAYS, ask, ask2, connect1

IN_WSGI = "^exception in WSGI application"


@pytest.fixture(scope="module")
def server(serve_module: Serve) -> Server:
    app = wsgi("wsgi_mistakes:app")
    return serve_module(app, app, tls=True, probe="/hello")


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
@pytest.mark.conformance("S02", "S03", "S08", "S19", "S20", "S33")
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(
    ("target", "logged"),
    [
        ("/returns_nothing", "TypeError"),
        ("/never_starts", "start_response"),
        ("/never_starts_an_empty_list", "start_response"),
        ("/never_starts_a_generator", "start_response"),
        ("/never_starts_an_empty_generator", "start_response"),
        ("/starts_twice", "AssertionError"),
        ("/starts_twice_in_a_generator", "AssertionError"),
        ("/starts_with_too_little", "TypeError"),
        ("/starts_with_something_else", "TypeError"),
        ("/starts_with_no_exc_info", "TypeError"),
        ("/raises_on_first_next", "planted: first next"),
        ("/text_block", "TypeError"),
        ("/number_block", "TypeError"),
        ("/no_block", "TypeError"),
        ("/bytearray_block", "TypeError"),
        ("/memoryview_block", "TypeError"),
        ("/text_among_blocks", "TypeError"),
        ("/text_written", "TypeError"),
        ("/text_instead_of_blocks", "TypeError"),
        ("/bytes_instead_of_blocks", "TypeError"),
        ("/number_instead_of_blocks", "TypeError"),
        ("/exits", "SystemExit"),
        ("/interrupts", "KeyboardInterrupt"),
        ("/generator_exits", "GeneratorExit"),
        ("/headers_are_no_list", "TypeError|AssertionError"),
    ],
)
def test_a_mistake_before_the_first_block_is_a_500(
    server: Server, way: str, target: str, logged: str
) -> None:
    server.expect_failure(logged)
    response = ask(server, way, "GET", target)
    assert (response.status, response.broken) == (500, None)


@pytest.mark.conformance("S18", "S33")
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("target", ["/raises", "/text_block", "/exits"])
def test_a_mistake_is_a_500_for_head_too(server: Server, way: str, target: str) -> None:
    server.expect_failure("Error|SystemExit")
    response = ask(server, way, "HEAD", target)
    assert (response.status, response.body, response.broken) == (500, b"", None)


@pytest.mark.conformance("S07", "S11")
@pytest.mark.parametrize("way", WAYS)
def test_an_error_after_empty_blocks_is_still_a_clean_500(
    server: Server, board: Board, way: str
) -> None:
    server.expect_failure("planted: after empty blocks")
    response = ask(server, way, "GET", "/empty_blocks_then_raises", board.headers)
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


# What HTTP cannot carry


@pytest.mark.conformance("S17", "S21", "S27")
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(
    "status",
    [
        "99",
        "100",
        "101",
        "103",
        "199",
        "1000",
        "text",
        "empty",
        "negative",
        "number",
        "none",
        "bytes",
        "glued",
        "newline",
        "nul",
    ],
)
def test_a_status_that_http_cannot_carry_is_a_500(server: Server, way: str, status: str) -> None:
    server.expect_failure("ValueError|TypeError|AssertionError")
    response = ask(server, way, "GET", f"/bad_status?{status}")
    assert (response.status, response.interim, response.broken) == (500, [], None)
    assert response.get("x-injected") is None


@pytest.mark.smoke
@pytest.mark.conformance("S21")
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(
    "header",
    [
        "cr",
        "lf",
        "crlf",
        "nul",
        "control",
        "delete",
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
def test_a_header_that_http_cannot_carry_is_a_500(server: Server, way: str, header: str) -> None:
    server.expect_failure("Error: ")
    response = ask(server, way, "GET", f"/bad_header?{header}")
    assert (response.status, response.broken) == (500, None)
    assert response.get("x-injected") is None
    assert response.get("x-bad") is None


@pytest.mark.conformance("S15", "S21")
@pytest.mark.parametrize(
    "length",
    ["text", "negative", "signed", "fraction", "empty", "list", "huge", "different"],
)
def test_a_content_length_that_is_no_length_is_a_500(server: Server, length: str) -> None:
    server.expect_failure("(?i)content-length")
    response = server.get(f"/bad_length?{length}")
    assert (response.status, response.broken) == (500, None)


# After the head


@pytest.mark.smoke
@pytest.mark.conformance("S03", "S09", "S11", "S33")
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(
    ("target", "logged"),
    [
        ("/raises_mid_stream", "planted: mid stream"),
        ("/raises_after_write", "planted: after write"),
        ("/exits_mid_stream", "SystemExit"),
        ("/text_block_mid_stream", "TypeError"),
        ("/starts_again_mid_stream", "AssertionError"),
    ],
)
def test_a_mistake_mid_stream_breaks_the_answer(
    server: Server, board: Board, way: str, target: str, logged: str
) -> None:
    server.expect_app_log(logged)
    response = ask(server, way, "GET", target, board.headers)
    assert (response.status, response.body) == (200, b"x" * 1000)
    assert response.broken is not None


@pytest.mark.conformance("S09")
@pytest.mark.parametrize("way", HTTP1)
def test_a_mistake_mid_stream_closes_an_http_1_connection(
    server: Server, board: Board, way: str
) -> None:
    server.expect_app_log("planted: mid stream")
    with connect1(server, way) as connection:
        connection.request("GET", "/raises_mid_stream", board.headers)
        assert connection.response().broken is not None
        assert connection.is_closed()


@pytest.mark.conformance("S09")
def test_a_mistake_mid_stream_leaves_an_http_2_connection_usable(
    server: Server, board: Board
) -> None:
    server.expect_app_log("planted: mid stream")
    with server.connect2() as connection:
        assert ask2(connection, "GET", "/raises_mid_stream", board.headers).broken is not None
        assert ask2(connection, "GET", "/hello").text == "hello"


@pytest.mark.conformance("S09", "S30")
@pytest.mark.parametrize("target", ["/raises_mid_stream", "/too_short_by_blocks"])
def test_a_mistake_mid_stream_can_be_seen_over_http_1_0_too(
    server: Server, board: Board, target: str
) -> None:
    """A body that ends with the connection looks whole unless the connection is reset."""
    server.expect_app_log("planted: mid stream|Content-Length of 10")
    response = http1.request(server.ports[1], "GET", target, board.headers, version="HTTP/1.0")
    assert response.status == 200
    assert response.broken is not None


@pytest.mark.smoke
@pytest.mark.conformance("S05")
@pytest.mark.parametrize("way", WAYS)
def test_exc_info_after_the_head_is_raised_again_and_breaks_the_answer(
    server: Server, board: Board, way: str
) -> None:
    server.expect_app_log("planted: too late")
    response = ask(server, way, "GET", "/replaces_a_sent_head", board.headers)
    assert (response.status, response.body) == (200, b"x" * 1000)
    assert response.broken is not None
    assert board.wait("raised") == ["True"]


@pytest.mark.conformance("S05", "S06")
@pytest.mark.parametrize("way", EVERY_WAY)
def test_exc_info_after_write_breaks_the_answer(server: Server, way: str) -> None:
    server.expect_app_log("planted: too late")
    response = ask(server, way, "GET", "/replaces_a_written_head")
    assert (response.status, response.body) == (200, b"x" * 1000)
    assert response.broken is not None


# Against the Content-Length


@pytest.mark.smoke
@pytest.mark.conformance("S15")
@pytest.mark.parametrize("way", EVERY_WAY)
@pytest.mark.parametrize(
    "target",
    [
        "/too_short_by_blocks",
        "/too_short_as_list",
        "/too_short_by_write",
        "/nothing_as_list",
        "/nothing_by_blocks",
    ],
)
def test_a_body_shorter_than_promised_looks_broken(server: Server, way: str, target: str) -> None:
    server.expect_failure_or_abort("(?i)content-length")
    response = ask(server, way, "GET", target)
    assert response.broken is not None or response.status == 500
    if response.status == 200:
        assert response.body in (b"", b"12345"), "what there was, and only once"


@pytest.mark.smoke
@pytest.mark.conformance("S15")
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(
    "target",
    [
        "/too_long_by_blocks",
        "/too_long_within_a_block",
        "/too_long_as_list",
        "/too_long_by_write",
        "/too_long_after_write",
    ],
)
def test_a_body_longer_than_promised_is_cut_and_smuggles_nothing(
    server: Server, way: str, target: str
) -> None:
    server.allow_log("(?i)content-length")
    response = ask(server, way, "GET", target)
    assert (response.body, response.broken) == (b"12345", None)
    assert response.get("x-smuggled") is None


@pytest.mark.conformance("S15")
@pytest.mark.parametrize("target", ["/too_long_by_blocks", "/too_long_as_list"])
def test_the_answer_after_a_cut_one_is_its_own(server: Server, target: str) -> None:
    server.allow_log("(?i)content-length")
    with server.connect() as connection:
        for _ in range(3):
            connection.request("GET", target)
            assert connection.response().body == b"12345"
            connection.request("GET", "/hello")
            assert connection.response().text == "hello"


@pytest.mark.conformance("S15", "S18")
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(
    "target", ["/too_short_by_blocks", "/too_short_as_list", "/nothing_as_list"]
)
def test_a_length_without_its_body_is_right_for_head(server: Server, way: str, target: str) -> None:
    response = ask(server, way, "HEAD", target)
    assert (response.status, response.get("content-length")) == (200, "10")
    assert response.broken is None
