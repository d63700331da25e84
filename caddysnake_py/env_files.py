"""Parses .env files like python-dotenv and docker compose, but without variable expansion.

::

    # a comment
    export NAME=value # and another
    QUOTED="may have\\nescapes, and several lines" # and a comment after it
    LITERAL='only \\' and \\\\ are escapes here'
"""

from __future__ import annotations

import re

from caddysnake_py.loader import LoadError

_BETWEEN = re.compile(r"(?:\s+|#[^\n]*)*")
_NAME = re.compile(r"(?:export[^\S\n]+)?(?:'([^'=\0]+)'|([^=#\s'\"\0]+))[^\S\n]*=([^\S\n]*)")
_QUOTED = {
    '"': re.compile(r'"((?:\\.|[^"\\])*)"', re.DOTALL),
    "'": re.compile(r"'((?:\\.|[^'\\])*)'", re.DOTALL),
}
_ESCAPES = {
    '"': re.compile(r"\\([\\'\"abfnrtv])"),
    "'": re.compile(r"\\([\\'])"),
}
_MEANINGS = {"a": "\a", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v"}
_PLAIN = re.compile(r"[^\n]*")
_COMMENT = re.compile(r"\s+#.*")
_END = re.compile(r"[^\S\n]*(?:#[^\n]*)?(?:\n|\Z)")


def _meaning(escape: re.Match[str]) -> str:
    return _MEANINGS.get(escape[1], escape[1])


class _ParseError(Exception):
    """A line is malformed; the message says why."""


def _value(text: str, start: int, after_space: bool) -> tuple[str, int]:
    """Parses the value at ``start``; returns the value and the position of its end."""
    quote = text[start : start + 1]
    if quote not in _QUOTED:
        plain = _PLAIN.match(text, start)
        assert plain is not None
        if after_space and quote == "#":
            return "", plain.end()
        return _COMMENT.sub("", plain[0]).rstrip(), plain.end()
    found = _QUOTED[quote].match(text, start)
    if found is None:
        raise _ParseError(f"the quote {quote} is not closed")
    return _ESCAPES[quote].sub(_meaning, found[1]), found.end()


def _assignment(text: str, start: int) -> tuple[str, str, int]:
    """Parses the assignment at ``start``; returns name, value, and the start of the next line."""
    name = _NAME.match(text, start)
    if name is None:
        raise _ParseError("not an assignment NAME=value")
    value, end = _value(text, name.end(), bool(name[3]))
    if "\0" in value:
        raise _ParseError("a NUL character")
    rest = _END.match(text, end)
    if rest is None:
        raise _ParseError("something other than a comment follows the closing quote")
    return name[1] or name[2], value, rest.end()


def read(path: str) -> dict[str, str]:
    """Returns the variables of a file. If a name is assigned twice, the last value counts.

    Raises:
        LoadError: the file cannot be read or parsed; the message names file, line and reason.
    """
    try:
        with open(path, "rb") as file:
            raw = file.read()
    except OSError as error:
        raise LoadError(f"env_file {path}: {error.strerror}") from None
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = 1 + len(re.findall(rb"\r\n|\n|\r", raw[: error.start]))
        raise LoadError(f"env_file {path}, line {line}: not in UTF-8") from None
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    values: dict[str, str] = {}
    position = 0
    while True:
        between = _BETWEEN.match(text, position)
        assert between is not None
        position = between.end()
        if position == len(text):
            return values
        try:
            name, value, end = _assignment(text, position)
        except _ParseError as error:
            line = 1 + text.count("\n", 0, position)
            raise LoadError(f"env_file {path}, line {line}: {error}") from None
        values[name] = value
        position = end
