"""Env files: what python-dotenv makes of them without expansion, and errors instead of guesses."""

from __future__ import annotations

from pathlib import Path

import dotenv
import pytest

from caddysnake_py import env_files
from caddysnake_py.loader import LoadError

CASES = [
    "A=1",
    "A=1\nB=2\n",
    "A=1\r\nB=2\r\n",
    "A=1\rB=2",
    "\ufeffA=1",
    "",
    "\n\n  \n",
    "# comment",
    "  # comment\nA=1",
    "A=1 # note",
    "A=1# no note",
    "A=a#b",
    "A= # note",
    "A=#no note",
    "A=\t# note",
    "A=",
    "A=   ",
    "A=\nB=2",
    "A = 1",
    "  A=1",
    "A=two words",
    "A=two words   ",
    "A=\ttab\tseparated\t",
    "A=a=b=c",
    "A=b==",
    "export A=1",
    "export   A=1",
    "export\tA=1",
    "exported=1",
    "A=export",
    'A="a" # note',
    "A='a' # note",
    'A="a"# note',
    'A="a"   ',
    'A=""',
    "A=''",
    'A="#"',
    "A='# no note'",
    'A="  kept  "',
    'A="it\'s"',
    "A='say \"x\"'",
    "A=it's",
    'A=5" disk',
    'A="new\\nline"',
    "A='no\\nline'",
    "A=no\\nline",
    'A="tab\\t, quote \\", backslash \\\\"',
    'A="\\a\\b\\f\\r\\v"',
    'A="unknown \\d \\$ \\x41"',
    "A='quote \\', backslash \\\\'",
    'A="several\nlines" # note\nB=2',
    "A='several\r\nlines'\nB=2",
    'A="ends with backslash \\\\"\nB=2',
    "A=$HOME",
    'A="${HOME}/x"',
    "A=`x` $(x)",
    "A=caf\u00e9 \u20ac",
    "a.b-c=1",
    "1A=1",
    "\u00c4=1",
    "'A'=1",
    "A=1\nA=2",
    "A=postgres://user:p#ss@host/db?x=1&y=2",
    'A={"json": "value"}',
    "A=[1, 2]",
    "A=\u00a0x",
]


@pytest.mark.parametrize("text", CASES)
def test_it_is_what_python_dotenv_reads(tmp_path: Path, text: str) -> None:
    path = tmp_path / ".env"
    path.write_bytes(text.encode())
    expected = dotenv.dotenv_values(path, interpolate=False)
    assert env_files.read(str(path)) == expected


@pytest.mark.parametrize(
    ("text", "line", "reason"),
    [
        (b"A=1\nnot an assignment\n", 2, "not an assignment"),
        (b"A=1\r\n\r\nB\r\n", 3, "not an assignment"),
        (b"=1", 1, "not an assignment"),
        (b"export A", 1, "not an assignment"),
        (b'A=1\nB="x\nC=2\n', 2, "not closed"),
        (b"B='it\\'", 1, "not closed"),
        (b'\n\nA="x" y', 3, "closing quote"),
        (b"A=1\nB=caf\xe9", 2, "UTF-8"),
        (b"A=\"x\ny\"\nB='\0'", 3, "NUL"),
        (b"A\0=x", 1, "not an assignment"),
    ],
)
def test_an_error_names_file_line_and_reason(
    tmp_path: Path, text: bytes, line: int, reason: str
) -> None:
    path = tmp_path / ".env"
    path.write_bytes(text)
    with pytest.raises(LoadError, match=rf"^env_file {path}, line {line}: .*{reason}"):
        env_files.read(str(path))


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(LoadError, match=r"absent: No such file"):
        env_files.read(str(tmp_path / "absent"))
