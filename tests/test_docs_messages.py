"""The messages that docs/troubleshooting.md explains are those of the code."""

from __future__ import annotations

import ast
import re
from functools import cache

import pytest

from harness.documents import DOCS, repository_files, rows, section
from harness.settings import REPOSITORY

PAGE = DOCS / "troubleshooting.md"

STRING = r'"(?:[^"\\\n]|\\.)*"'
# Literals that Go joins with `+`, also to other values, and C without anything.
GO = re.compile(rf"(?:[\w.()]+\s*\+\s*)?{STRING}(?:\s*\+\s*(?:{STRING}|[\w.()]+))*")
C = re.compile(rf"{STRING}(?:\s*{STRING})*")
VERB = re.compile(r"%[-+.0-9l]*(?:zu|ll?[du]|[a-zA-Z])")
# Files of Go whose errors are about the configuration or the command line: each is on the page.
CONFIGURATION = (
    "app_template.go",
    "autoreload.go",
    "caddyfile.go",
    "caddyfile_legacy.go",
    "caddysnake.go",
    "deploy.go",
    "engine.go",
    "probe.go",
    "python_server.go",
    "readiness.go",
    "template.go",
    "websocket_options.go",
    "worker_options.go",
)
ERROR = re.compile(r"(?:errors\.New|fmt\.Errorf|d\.Errf?|warn|\.Warn)\((?:d, )?")


def simple(text: str) -> str:
    """What varies as `…`, but not at the ends, and only single spaces."""
    return re.sub(r"\s+", " ", re.sub(r"…+", "…", VERB.sub("…", text))).strip("… ")


def joined(expression: str) -> str:
    """The value of an expression of Go or C, as far as it is written there."""
    rest = re.split(rf"({STRING})", expression)
    parts = [
        ast.literal_eval(part) if part.startswith('"') else "…" * bool(re.search(r"\w", part))
        for part in rest
    ]
    return simple("".join(parts))


class Literals(ast.NodeVisitor):
    """The strings of a module; implicit joins are one string, and f-strings have `…`."""

    def __init__(self) -> None:
        self.found: set[str] = set()

    def visit_JoinedStr(self, node: ast.JoinedStr) -> None:
        parts = [str(part.value) if isinstance(part, ast.Constant) else "…" for part in node.values]
        self.found.add(simple("".join(parts)))
        self.generic_visit(node)

    def visit_Constant(self, node: ast.Constant) -> None:
        if isinstance(node.value, str):
            self.found.add(simple(node.value))


@cache
def literals() -> frozenset[str]:
    """All strings of the product's code."""
    found: set[str] = set()
    for file in repository_files():
        text = (REPOSITORY / file).read_text() if re.search(r"\.(go|c|py)$", file) else ""
        if re.fullmatch(r"(internal/.+|[^/]+)\.go", file) and not file.endswith("_test.go"):
            found |= {joined(match[0]) for match in GO.finditer(text)}
        elif re.fullmatch(r"core/.+\.c|[^/]+\.c", file):
            found |= {joined(match[0]) for match in C.finditer(text)}
        elif file.startswith("caddysnake_py/"):
            visitor = Literals()
            visitor.visit(ast.parse(text))
            found |= visitor.found
    return frozenset(found)


def messages() -> list[str]:
    """Those in the first columns of the page's tables: in the second one behind a status."""
    found = []
    for cells in rows(PAGE.read_text()):
        if len(cells) == 4:
            found += re.findall(r"`([^`]+)`", cells[1])
        elif cells[0].startswith("`"):
            found += re.findall(r"`([^`]+)`", cells[0])
    return found


# The beginnings of the rows of the table that has no messages.
EVENTS = {"SystemExit", "KeyboardInterrupt"}
MESSAGES = [message for message in messages() if message not in EVENTS]


def test_the_page_has_messages_of_each_language() -> None:
    assert {
        "threads must be at least 1, not …",
        "the app returned without sending a response",
        "lifespan is on, but the app does not support it",
    } <= set(MESSAGES)
    assert len(MESSAGES) > 100


def test_each_message_is_explained_once() -> None:
    again = {message for message in MESSAGES if MESSAGES.count(message) > 1}
    # An exception in applications of both interfaces.
    assert again == {"the client disconnected"}


@pytest.mark.parametrize("message", sorted(set(MESSAGES)))
def test_a_message_is_in_the_code(message: str) -> None:
    assert len(re.sub(r"\W", "", message)) >= 7
    wanted = simple(message)
    assert any(wanted in literal for literal in literals())


@pytest.mark.parametrize("file", CONFIGURATION)
def test_each_error_of_the_configuration_is_explained(file: str) -> None:
    source = (REPOSITORY / file).read_text()
    explained = {simple(message) for message in MESSAGES}
    missing = []
    for call in ERROR.finditer(source):
        match = GO.match(source, call.end())
        text = joined(match[0]) if match else ""
        # What only wraps another error, as in "%w: %w", has no message of its own.
        wraps = not re.search(r"\w{2}", text) or re.fullmatch(r"[\w -]+( …)?:", text)
        if not wraps and not any(message in text for message in explained):
            missing.append(text)
    assert missing == []


# What only a defect of the server writes.
INTERNAL = {"answer to an unknown command", "python:"}


def test_each_record_of_a_problem_is_explained() -> None:
    """Those of Go, and the reasons for which Python refuses to load an application."""
    explained = {simple(message) for message in MESSAGES}
    missing = []
    for file in repository_files():
        source = (REPOSITORY / file).read_text() if file.endswith((".go", ".py")) else ""
        found: set[str] = set()
        if re.fullmatch(r"[^/]+(?<!_test)\.go", file):
            calls = re.finditer(r"\.(?:Warn|Error)\((?=\")", source)
            found = {joined(GO.match(source, call.end())[0]) for call in calls}
        elif file.startswith("caddysnake_py/"):
            for node in ast.walk(ast.parse(source)):
                if isinstance(node, ast.Raise) and re.match(
                    r"raise (Load|Zone)Error\(", ast.unparse(node)
                ):
                    visitor = Literals()
                    visitor.visit(node.exc.args[0])
                    found.add(max(visitor.found, key=len))
        missing += [
            text for text in found - INTERNAL if not any(message in text for message in explained)
        ]
    assert missing == []


def test_each_answer_in_the_applications_place_is_explained() -> None:
    source = (REPOSITORY / "refuse.go").read_text()
    texts = dict(re.findall(r'^\t(err\w+) += errors\.New\("(.+)"\)$', source, re.MULTILINE))
    refusals = re.findall(r'^\t\{(err\w+), ([\w.]+), "(\d*)"\},$', source, re.MULTILINE)
    assert set(texts) == {name for name, _, _ in refusals}
    page = {
        message: cells[0]
        for cells in rows(section(PAGE, "## Answers in the application's place"))
        for message in re.findall(r"`([^`]+)`", cells[1])
    }
    for name, status, retry in refusals:
        shown = [cell for message, cell in page.items() if message.endswith(texts[name])]
        assert len(shown) == 1, texts[name]
        assert shown[0].endswith("*") == bool(retry)
        assert int(shown[0].strip("*")) == STATUSES[status.removeprefix("http.Status")]
    assert len(page) == len(refusals)


STATUSES = {
    "BadRequest": 400,
    "NotFound": 404,
    "RequestEntityTooLarge": 413,
    "UpgradeRequired": 426,
    "RequestHeaderFieldsTooLarge": 431,
    "statusClientClosedRequest": 499,
    "InternalServerError": 500,
    "NotImplemented": 501,
    "BadGateway": 502,
    "ServiceUnavailable": 503,
    "GatewayTimeout": 504,
}
