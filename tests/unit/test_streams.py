"""From what apps print to records."""

from __future__ import annotations

import gc
import io
import logging
import os
import traceback

import pytest
from stand_in import Core

from caddysnake_py import log_handlers, streams


def stream(app: int | None = None) -> streams.LogStream:
    return streams.LogStream(streams.Lines("stderr", 2, logging.ERROR), app)


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


def test_records_name_the_app_whose_stream_it_is(core: Core) -> None:
    stream(7).write("hello\n")
    assert [r.app for r in core.records] == [7]


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
    out.write("\n")
    assert max(len(message) for message in messages(core)) == 1 << 20
    assert sum(len(message) for message in messages(core)) == 3 << 20


def test_an_unfinished_line_is_written_when_its_app_goes(core: Core) -> None:
    lines = streams.Lines("stderr", 2, logging.ERROR)
    streams.LogStream(lines, 3).write("unfinished")
    lines.close_partial(3)
    assert messages(core) == ["unfinished"]


def test_bytes_go_through_the_buffer_as_utf8(core: Core) -> None:
    out = stream()
    out.buffer.write(b"caf\xc3\xa9 \xff\n")
    assert messages(core) == ["café \\xff"]


def test_a_character_may_come_in_pieces(core: Core) -> None:
    out = stream()
    out.buffer.write(b"caf\xc3")
    out.buffer.write(b"\xa9\n")
    assert messages(core) == ["café"]


# As Python's own


def test_it_has_all_that_a_text_stream_of_python_has() -> None:
    public = {name for name in dir(io.TextIOWrapper) if not name.startswith("_")} | {"mode"}
    router = streams.Router(streams.Lines("stdout", 1, logging.INFO))
    for out in (stream(), router):
        assert public <= set(dir(out))
        assert isinstance(out, io.TextIOBase)
    assert isinstance(stream(), io.TextIOWrapper)


def test_it_answers_as_a_text_stream_of_python_that_is_no_terminal() -> None:
    real = io.TextIOWrapper(io.FileIO(os.devnull, "wb"), "utf-8", newline="\n")
    out = stream()
    for name in ("encoding", "newlines", "closed", "line_buffering"):
        assert getattr(out, name) == getattr(real, name)
    for ask in ("readable", "writable", "seekable", "isatty"):
        answer = False if ask == "seekable" else getattr(real, ask)()
        assert getattr(out, ask)() == answer
    assert (out.name, out.mode, out.errors) == ("<stderr>", "w", "backslashreplace")
    for fails in ("read", "readline", "tell", "truncate"):
        with pytest.raises(io.UnsupportedOperation):
            getattr(out, fails)()
    with pytest.raises(TypeError):
        out.write(b"bytes")  # type: ignore[arg-type]
    with pytest.raises(TypeError):
        out.buffer.write("text")  # type: ignore[arg-type]


@pytest.mark.parametrize("encoding", ["latin-1", "utf-16-le", "cp1252"])
def test_it_can_be_reconfigured(core: Core, encoding: str) -> None:
    out = stream()
    out.reconfigure(encoding=encoding, errors="strict", line_buffering=True, write_through=False)
    assert (out.encoding, out.errors, out.line_buffering) == (encoding, "strict", True)
    out.write("café\n")
    assert messages(core) == ["café"]
    with pytest.raises(UnicodeEncodeError):
        out.write("\udc80")


def test_a_closed_stream_takes_nothing_and_leaves_the_descriptor(core: Core) -> None:
    out = stream(1)
    own = out.fileno()
    assert own != 2
    out.write("unfinished")
    out.close()
    assert out.closed
    for act in (lambda: out.write("x"), out.flush, out.fileno, lambda: out.buffer.write(b"x")):
        with pytest.raises(ValueError, match="closed file"):
            act()
    with pytest.raises(OSError):
        os.fstat(own)
    os.fstat(2)


def test_a_descriptor_that_the_app_has_closed_is_replaced() -> None:
    out = stream(1)
    os.fdopen(out.fileno(), "wb").close()
    assert os.path.sameopenfile(out.fileno(), 2)
    os.fstat(2)


def test_a_detached_stream_leaves_its_buffer(core: Core) -> None:
    out = stream()
    buffer = out.detach()
    with pytest.raises(ValueError):
        out.write("x")
    buffer.write(b"still\n")
    assert messages(core) == ["still"]


def test_the_collector_may_run_anywhere(core: Core) -> None:
    """A destructor that prints, in the middle of a print."""
    out = stream()

    class Session:
        def __init__(self) -> None:
            self.me = self

        def __del__(self) -> None:
            out.write("clo")
            out.write("sed\n")

    before = gc.get_threshold()
    try:
        for number in range(500):
            for _ in range(20):
                Session()
            gc.set_threshold(1)
            out.write("row ")
            out.write(f"{number}")
            out.write("\n")
            gc.set_threshold(*before)
    finally:
        gc.set_threshold(*before)
    gc.collect()
    text = "".join(messages(core))
    for number in range(500):
        assert f"{number}" in text
    assert text.count("clo") == text.count("sed") == 10_000


# logging


def test_stream_handlers_keep_the_level_and_the_logger(core: Core) -> None:
    handler = logging.StreamHandler(stream())
    record = logging.LogRecord("shop.db", logging.WARNING, "f.py", 1, "slow %s", ("query",), None)
    log_handlers.emit_record(handler, record)
    assert [(r.level, r.source, r.message) for r in core.records] == [
        (logging.WARNING, "shop.db", "slow query")
    ]


def test_stream_handlers_on_other_streams_are_untouched(core: Core) -> None:
    out = io.StringIO()
    record = logging.LogRecord("x", logging.INFO, "f.py", 1, "hello", (), None)
    log_handlers.emit_record(logging.StreamHandler(out), record)
    assert out.getvalue() == "hello\n"
    assert core.records == []
