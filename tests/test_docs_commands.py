"""What the pages show: commands are those that the server knows, and applications are served."""

from __future__ import annotations

import re
import shlex
import subprocess
from pathlib import Path

import httpx
import pytest

from harness.documents import DOCS, PAGES, Block, blocks
from harness.python_server import PythonServer
from harness.settings import BINARY, REPOSITORY, VENV

READERS = [
    *(page for page in PAGES if page.parent != DOCS / "decisions"),
    *sorted((REPOSITORY / "examples").glob("*/README.md")),
]
# Lines of a terminal, or code between backticks.
CODE = re.compile(r"^(?: {4,}|\$ )(\S.*)$|`([^`\n]+)`", re.MULTILINE)
OWN = re.compile(r"(?:^|[\s/])(?:caddysnake|caddy) ([a-z][^|;&]*)")
# "<path>", "[...]" and "…" stand for something.
NOTATION = re.compile(r"[\[\]…]|\.\.\.")


def commands(page: Path) -> set[str]:
    """The arguments of each command, as they are written."""
    code = (indented or inline for indented, inline in CODE.findall(page.read_text()))
    return {match[1].strip() for text in code for match in OWN.finditer(re.split(r"\s#", text)[0])}


COMMANDS = sorted({command for page in READERS for command in commands(page)})


def test_the_pages_show_commands() -> None:
    shown = {command.split()[0] for command in COMMANDS}
    assert {"run", "reload", "main:app", "dev", "deploy", "status", "python-server"} <= shown


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_and_its_options_are_known(command: str) -> None:
    arguments = [word for word in shlex.split(NOTATION.sub(" ", command)) if word != "--help"]
    done = subprocess.run(
        [BINARY, *arguments, "--help"], capture_output=True, text=True, timeout=60
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert re.search(r"^Usage:\n", done.stdout, re.MULTILINE)


# What a client asks the applications of docs/examples.md for, and what is in the answer. Those of
# docs/getting-started.md are tried by test_getting_started.py.
ANSWERS = {
    "main.py": ("/", "Hello from Flask"),
    "api.py": ("/openapi.json", "/upload"),
    "events.py": ("/ticks", "data: tick 0"),
}
SCRIPTS = [block for page in READERS for block in blocks(page) if block.language == "python"]
APPLICATIONS = [block for block in SCRIPTS if block.page == DOCS / "examples.md"]


@pytest.mark.parametrize("block", SCRIPTS, ids=str)
def test_python_on_a_page_compiles(block: Block) -> None:
    compile(block.text, str(block), "exec")


def test_each_application_is_tried() -> None:
    assert {block.text.split()[1] for block in APPLICATIONS} == set(ANSWERS)


@pytest.mark.parametrize("block", APPLICATIONS, ids=str)
def test_an_application_on_the_page_answers(block: Block, tmp_path: Path) -> None:
    file = block.text.split()[1]
    (tmp_path / file).write_text(block.text)
    app = f"{Path(file).stem}:app"
    target, expected = ANSWERS[file]
    with PythonServer(tmp_path, app, "--venv", str(VENV), cwd=tmp_path) as server:
        url = f"http://127.0.0.1:{server.port}{target}"
        with httpx.stream("GET", url, timeout=30, trust_env=False) as response:
            assert response.status_code == 200
            assert expected in next(response.iter_text())
