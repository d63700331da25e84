"""What a record may hold."""

from __future__ import annotations

import importlib
import logging
import sys
from pathlib import Path

import pytest
from stand_in import Core

from caddysnake_py import logs

FORGED = "2026/11/26 21:00:00.000\tINFO\tforged"


def logged(core: Core, message: str) -> str:
    logs.emit(logging.INFO, "test", message)
    return core.records[-1].message


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("caf\u00e9 \u20ac\tx", "caf\u00e9 \u20ac\tx"),
        ("one\ntwo\r\nthree", "one\ntwo\nthree"),
        ("\x1b[2Jgone", r"\x1b[2Jgone"),
        ("a\rb\x00c\x7fd\x85e\u2028f\u202eg", r"a\x0db\x00c\x7fd\x85e\u2028f\u202eg"),
        ("lone \udc80", r"lone \udc80"),
    ],
)
def test_control_characters_are_escaped(core: Core, text: str, shown: str) -> None:
    assert logged(core, text) == shown


@pytest.mark.parametrize(
    "line",
    [FORGED, '{"level":"info"}', "1764190000.1 x", "Thu, 26 Nov 2026 21:00:00 UTC\tINFO\tforged"],
)
def test_a_line_that_looks_like_a_record_is_indented(core: Core, line: str) -> None:
    assert logged(core, f"ValueError: x\n{line}\nafter") == f"ValueError: x\n    {line}\nafter"


def test_a_traceback_stays_as_python_prints_it(core: Core) -> None:
    text = (
        "exception\nTraceback (most recent call last):\n"
        '  File "x.py", line 1, in app\n\tx\nKeyError: 1'
    )
    assert logged(core, text) == text


def test_what_a_client_has_sent_is_one_line(core: Core) -> None:
    request = {"type": "http", "method": "GET", "path": f"/x\n{FORGED}\x1b[2J"}
    logs.app_exception(1, ValueError("planted"), "ASGI", request)
    first = core.records[-1].message.split("\n")[0]
    assert first == (
        r"exception in ASGI application (GET /x\n2026/11/26 21:00:00.000\tINFO\tforged\x1b[2J)"
    )


def test_a_traceback_has_no_frames_of_the_import_system(tmp_path: Path) -> None:
    (tmp_path / "outer_module.py").write_text(
        "try:\n    import inner_module\nexcept ZeroDivisionError as error:\n"
        "    raise ValueError('planted') from error\n"
    )
    (tmp_path / "inner_module.py").write_text("1 / 0\n")
    sys.path.insert(0, str(tmp_path))
    try:
        importlib.import_module("outer_module")
    except ValueError as error:
        said = logs.format_exception(error)
    finally:
        sys.path.remove(str(tmp_path))
    assert "<frozen importlib" not in said
    assert importlib.__file__ not in said
    assert (
        said.index("inner_module.py") < said.index("direct cause") < said.rindex("outer_module.py")
    )
    assert said.endswith("ValueError: planted")


def test_an_exception_without_frames() -> None:
    assert logs.format_exception(KeyError("planted")) == "KeyError: 'planted'"
