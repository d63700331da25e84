"""From what apps print to records."""

from __future__ import annotations

import io
import logging
import traceback

from stand_in import Core

from caddysnake_py import logs


def stream() -> logs.LogStream:
    return logs.LogStream("stderr", 2, logging.ERROR)


def messages(core: Core) -> list[str]:
    return [record.message for record in core.records]


def test_each_whole_line_is_a_record(core: Core) -> None:
    out = stream()
    out.write("one\ntw")
    assert messages(core) == ["one"]
    out.write("o\n\nthree\n")
    assert messages(core) == ["one", "two", "three"]


def test_records_name_the_app_of_the_thread(core: Core) -> None:
    core.app = 7
    stream().write("hello\n")
    assert [(r.app, r.source, r.level) for r in core.records] == [(7, "stderr", logging.ERROR)]


def test_lines_of_different_apps_are_not_mixed(core: Core) -> None:
    out = stream()
    core.app = 1
    out.write("first ")
    core.app = 2
    out.write("second\n")
    core.app = 1
    out.write("app\n")
    assert [(r.app, r.message) for r in core.records] == [(2, "second"), (1, "first app")]


def test_a_printed_traceback_is_one_record(core: Core) -> None:
    out = stream()
    try:
        raise ValueError("planted")
    except ValueError:
        traceback.print_exc(file=out)
    out.write("after\n")
    first, last = messages(core)
    assert first.startswith("Traceback (most recent call last):\n  File ")
    assert first.endswith("\nValueError: planted")
    assert last == "after"


def test_a_line_without_end_is_cut(core: Core) -> None:
    out = stream()
    out.write("x" * (3 << 20))
    assert {len(message) for message in messages(core)} == {1 << 20}


def test_an_unfinished_line_is_written_when_its_app_goes(core: Core) -> None:
    out = stream()
    core.app = 3
    out.write("unfinished")
    out.close_partial(3)
    assert messages(core) == ["unfinished"]


def test_bytes_go_through_the_buffer_as_utf8(core: Core) -> None:
    stream().buffer.write(b"caf\xc3\xa9 \xff\n")
    assert messages(core) == ["café \\xff"]


def test_stream_handlers_keep_the_level_and_the_logger(core: Core) -> None:
    handler = logging.StreamHandler(stream())
    record = logging.LogRecord("shop.db", logging.WARNING, "f.py", 1, "slow %s", ("query",), None)
    logs._emit_record(handler, record)
    assert [(r.level, r.source, r.message) for r in core.records] == [
        (logging.WARNING, "shop.db", "slow query")
    ]


def test_stream_handlers_on_other_streams_are_untouched(core: Core) -> None:
    out = io.StringIO()
    record = logging.LogRecord("x", logging.INFO, "f.py", 1, "hello", (), None)
    logs._emit_record(logging.StreamHandler(out), record)
    assert out.getvalue() == "hello\n"
    assert core.records == []
