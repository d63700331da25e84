"""The pages of the documentation, for tests that hold them against the code."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from harness.settings import BINARY, REPOSITORY

DOCS = REPOSITORY / "docs"
CONTRIBUTING = REPOSITORY / "CONTRIBUTING.md"
CONFIGURATION = DOCS / "configuration.md"
PAGES = [REPOSITORY / "README.md", CONTRIBUTING, *sorted(DOCS.rglob("*.md"))]

FENCED = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True)
class Block:
    """A fenced block: where it starts, its language, and its text."""

    page: Path
    line: int
    language: str
    text: str

    def __str__(self) -> str:
        return f"{self.page.relative_to(REPOSITORY)}:{self.line}"


def blocks(page: Path) -> Iterator[Block]:
    content = page.read_text()
    for match in FENCED.finditer(content):
        line = content.count("\n", 0, match.start()) + 1
        yield Block(page, line, match[1], match[2])


def section(page: Path, heading: str) -> str:
    """The text below a heading, down to the next one of its level or above, with its blocks."""
    level = len(heading.partition(" ")[0])
    lines, inside, fenced = [], False, False
    for line in page.read_text().splitlines():
        fenced ^= line.startswith("```")
        if not fenced and re.match(rf"#{{1,{level}}} ", line):
            inside = line == heading
        elif inside:
            lines.append(line)
    return "\n".join(lines)


def headings(page: Path) -> list[str]:
    return re.findall(r"^#+ .+$", FENCED.sub("", page.read_text()), re.MULTILINE)


def anchors(page: Path) -> list[str]:
    """What GitHub makes of a page's headings."""
    titles = [heading.partition(" ")[2] for heading in headings(page)]
    return [re.sub(r"[^\w\- ]", "", title).lower().replace(" ", "-") for title in titles]


def rows(text: str) -> list[list[str]]:
    """The cells of the rows of tables, without their heads."""
    found = []
    for table in re.findall(r"(?:^\|.*\n?)+", text, re.MULTILINE):
        for row in table.splitlines()[2:]:
            found.append([cell.strip() for cell in row.strip("|").split(" |")])
    return found


def repository_files() -> list[str]:
    """Those that are in git, or will be."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=True)
    return sorted(file for file in set(done.stdout.splitlines()) if (REPOSITORY / file).is_file())


def adapt(caddyfile: str) -> subprocess.CompletedProcess[str]:
    """Neither this nor the tests of the pages need the applications that a Caddyfile names."""
    command = [BINARY, "adapt", "--config", "-", "--adapter", "caddyfile"]
    return subprocess.run(command, input=caddyfile, capture_output=True, text=True, timeout=60)
