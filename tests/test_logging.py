"""What apps say reaches Caddy's log: whole lines, with level, stream, logger and the app's name."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness import http1
from harness.caddyfile import asgi, python, wsgi
from harness.log import Record
from harness.plugin import Serve
from harness.server import Server
from harness.waiting import wait_for

LOGGER = "http.handlers.python"
APP = "talkative:app"


@pytest.fixture(scope="module")
def server(serve_module: Serve) -> Server:
    return serve_module(wsgi(APP), probe="/hello")


def said(server: Server, target: str, pattern: str, count: int = 1, app: str = APP) -> list[Record]:
    """The records that match, of those that the request caused; exactly so many must come."""
    start = len(server.log.read())
    assert server.get(target).status == 200
    wait_for(
        lambda: len(server.log.find(pattern, start)) >= count,
        f"{count} record(s) like {pattern!r}",
    )
    found = server.log.find(pattern, start)
    assert len(found) == count
    for record in found:
        assert record.logger == LOGGER
        assert record.fields["app"] == app
    return found


@pytest.mark.smoke
@pytest.mark.conformance("T15")
def test_a_print_is_an_info_record(server: Server) -> None:
    (record,) = said(server, "/prints", "^printed \u20ac$")
    assert record.level == "info"
    assert record.fields["stream"] == "stdout"


@pytest.mark.conformance("T15")
def test_each_line_is_a_record_of_its_own(server: Server) -> None:
    records = said(server, "/prints", "^(first|second) line$", 2)
    assert [record.message for record in records] == ["first line", "second line"]


@pytest.mark.conformance("T15")
def test_pieces_of_a_line_are_put_together(server: Server) -> None:
    said(server, "/prints_in_pieces", "^one line$")


@pytest.mark.smoke
@pytest.mark.conformance("T15")
def test_stderr_is_an_error_record(server: Server) -> None:
    server.expect_app_log("^complained$")
    (record,) = said(server, "/writes_to_stderr", "^complained$")
    assert record.level == "error"
    assert record.fields["stream"] == "stderr"


@pytest.mark.conformance("T15")
def test_bytes_that_are_no_text_are_logged_all_the_same(server: Server) -> None:
    said(server, "/writes_raw_bytes", "^raw .* bytes$")


@pytest.mark.conformance("T15")
def test_a_long_line_arrives(server: Server) -> None:
    start = len(server.log.read())
    assert server.get("/writes_a_long_line").status == 200
    wait_for(
        lambda: sum(r.message.count("x") for r in server.log.find("x{1000}", start)) == 1_000_000,
        "all of a long line",
    )


@pytest.mark.conformance("T15")
def test_a_thread_of_the_app_speaks_for_the_app(server: Server) -> None:
    said(server, "/prints_from_a_thread", "^printed by a thread$")


@pytest.mark.conformance("I12")
def test_wsgi_errors_gives_one_record_per_line(server: Server) -> None:
    server.expect_app_log("^(first|second|third|fourth)", times=4)
    records = said(server, "/writes_to_wsgi_errors", "^(first \u20ac|second|third|fourth)$", 4)
    assert {record.level for record in records} == {"error"}


@pytest.mark.in_process("a worker's record ends after 128 KiB")
def test_a_record_ends_after_16_mib_and_says_so(serve: Serve) -> None:
    server = serve(wsgi("configured:app"))
    (record,) = said(server, "/logs_too_much", "€ … .* more bytes", 1, "configured:app")
    text, _, rest = record.message.partition(" … ")
    assert set(text) == {"€"}
    assert len(text) == (16 << 20) // 3
    assert rest == f"({3 * ((6 << 20) - len(text))} more bytes)"


@pytest.mark.smoke
@pytest.mark.conformance("T15")
def test_logging_keeps_its_levels_and_loggers(serve: Serve) -> None:
    server = serve(wsgi("configured:app"))
    server.expect_app_log("^at (error|critical)$", times=2)
    records = said(server, "/logs", "^at ", 4, "configured:app")
    levels = {record.message: record.level for record in records}
    assert levels == {
        "at info": "info",
        "at warning": "warn",
        "at error": "error",
        "at critical": "error",
    }
    for record in records:
        assert "shop.orders" in record.fields.values()


@pytest.mark.conformance("T15")
def test_logging_without_a_configuration_starts_at_warning_as_in_any_python(
    server: Server,
) -> None:
    server.expect_app_log("^at (error|critical)$", times=2)
    records = said(server, "/logs", "^at ", 3)
    assert [record.level for record in records] == ["warn", "error", "error"]


@pytest.mark.conformance("T15")
def test_a_logged_exception_is_one_record_with_its_traceback(server: Server) -> None:
    server.expect_app_log("could not")
    (record,) = said(server, "/logs_an_exception", "could not")
    assert "Traceback (most recent call last)" in record.text
    assert "ValueError: planted: caught" in record.text


@pytest.mark.conformance("T15")
def test_a_broken_log_call_does_not_break_the_app(server: Server) -> None:
    server.allow_log(".")
    assert server.get("/logs_a_bad_format").status == 200


@pytest.mark.smoke
@pytest.mark.conformance("T15")
def test_a_warning_is_a_warn_record(server: Server) -> None:
    (record,) = said(server, "/warns", "planted warning")
    assert record.level == "warn"
    assert "UserWarning" in record.text


@pytest.mark.conformance("T15")
def test_an_exception_in_a_thread_is_one_record(server: Server) -> None:
    server.expect_app_log("planted: in a thread")
    (record,) = said(server, "/raises_in_a_thread", "planted: in a thread")
    assert "Traceback (most recent call last)" in record.text


@pytest.mark.conformance("T15")
def test_output_while_importing_is_logged_with_the_app(server: Server) -> None:
    (record,) = server.log.find("^said while importing$")
    assert record.fields["app"] == APP


@pytest.mark.conformance("T15")
def test_each_record_names_the_app_that_wrote_it(serve: Serve) -> None:
    server = serve(wsgi("talkative:app"), asgi("asgi_mistakes:app", "lifespan off"))
    expected = server.expect_failure("planted: raises")
    assert server.get("/prints").status == 200
    assert http1.request(server.ports[1], "GET", "/raises").status == 500
    server.check()
    assert [record.fields["app"] for record in expected.records] == ["asgi_mistakes:app"]
    (printed,) = server.log.find("^printed \u20ac$")
    assert printed.fields["app"] == "talkative:app"


@pytest.mark.parametrize("interface", ["module_wsgi", "module_asgi"])
def test_what_is_said_in_the_shutdown_names_the_app_and_comes_first(
    serve: Serve, tmp_path: Path, interface: str
) -> None:
    code = (
        """
import atexit, logging

def say():
    for number in range(200):
        print("said at the end", number)
    print("unfinished", end="")

atexit.register(say)

if "{interface}" == "module_wsgi":
    def app(environ, start_response):
        start_response("200 OK", [])
        return []
else:
    async def app(scope, receive, send):
        if scope["type"] == "lifespan":
            await receive()
            await send({{"type": "lifespan.startup.complete"}})
            await receive()
            logging.getLogger("lifespan").warning("said in the lifespan")
            await send({{"type": "lifespan.shutdown.complete"}})
""".replace("{{", "{")
        .replace("}}", "}")
        .replace("{interface}", interface)
    )
    (tmp_path / "ends.py").write_text(code)
    block = python("ends:app", interface=interface, folder=tmp_path)
    server = serve(block)
    for _ in range(3):
        start = len(server.log.read())
        assert server.force(block).status == 200
        wait_for(
            lambda start=start: any(
                record.message == "python app unloaded" and record.fields["app"] == "ends:app"
                for record in server.log.read()[start:]
            ),
            "the end of the app",
        )
        records = server.log.read()[start:]
        said = [r for r in records if r.message.startswith(("said", "unfinished"))]
        assert len(said) == 201 + (interface == "module_asgi")
        assert {record.fields.get("app") for record in said} == {"ends:app"}
        messages = [r.message for r in records if r.fields.get("app") == "ends:app"]
        assert messages.index("unfinished") < messages.index("python app unloaded")
