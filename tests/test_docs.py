"""The documentation agrees with the code: Caddyfiles, JSON, options, files, names, commands."""

from __future__ import annotations

import itertools
import json
import re
import subprocess
from pathlib import Path

import pytest

from harness.documents import (
    CONFIGURATION,
    CONTRIBUTING,
    DOCS,
    FENCED,
    PAGES,
    Block,
    adapt,
    anchors,
    blocks,
    repository_files,
    section,
)
from harness.page import README, packages_for, packages_in
from harness.pythons import MINORS
from harness.settings import BINARY, REPOSITORY

INSTALLATION = DOCS / "installation.md"
ARCHITECTURE = DOCS / "architecture.md"

LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")

BLOCKS = [block for page in PAGES for block in blocks(page)]
CADDYFILES = [block for block in BLOCKS if block.language == "caddyfile"]
# Each stands for the Caddyfile before it.
CONFIGS = [
    (before, block) for before, block in itertools.pairwise(BLOCKS) if block.language == "json"
]


@pytest.mark.parametrize("block", CADDYFILES, ids=str)
def test_a_caddyfile_is_valid_and_formatted(block: Block) -> None:
    done = adapt(block.text)
    assert done.returncode == 0, done.stderr
    warnings = [line for line in done.stderr.splitlines() if '"level":"warn"' in line]
    assert warnings == []


@pytest.mark.parametrize(("before", "block"), CONFIGS, ids=str)
def test_a_json_config_is_what_the_caddyfile_before_it_adapts_to(
    before: Block, block: Block
) -> None:
    assert before.page == block.page
    assert before.language == "caddyfile"
    assert json.loads(block.text) == json.loads(adapt(before.text).stdout)


def test_the_readme_and_the_configuration_show_caddyfiles() -> None:
    assert {REPOSITORY / "README.md", CONFIGURATION} <= {block.page for block in CADDYFILES}
    assert CONFIGS


def source_files() -> list[str]:
    """The files that the tables of the architecture have to name."""
    source = re.compile(
        r"[^/]+\.[ch]|(?:cmd/.+|internal/.+|[^/]+)\.(?:go|c)|core/.+|caddysnake_py/.+\.py"
    )
    return [
        file
        for file in repository_files()
        if source.fullmatch(file) and not file.endswith("_test.go")
    ]


def test_the_architecture_names_each_source_file_once() -> None:
    named = []
    for part in section(ARCHITECTURE, "## Files").split("\n### In ")[1:]:
        heading, _, table = part.partition("\n")
        folder = "" if heading == "the root" else heading.strip("`")
        for row in re.findall(r"^\| (`.+?) \| ", table, re.MULTILINE):
            named += [folder + file for file in re.findall(r"`([^`]+)`", row)]
    known = source_files()
    assert "core/slot.c" in known
    assert set(known) - set(named) == set()
    assert set(named) - set(known) == set()
    assert sorted(named) == known


def test_files_and_names_where_changes_begin_are_there() -> None:
    """Of CONTRIBUTING's table. A name is in one of the files of its row."""
    rows = section(CONTRIBUTING, "### Where to begin").splitlines()[4:]
    rows = [row for row in rows if row.startswith("| ")]
    assert len(rows) == 10
    missing = []
    for row in rows:
        quoted = re.findall(r"`([^`]+)`", row)
        # In the folder of the row's first file, unless the name has one of its own.
        folder = REPOSITORY / quoted[0].rpartition("/")[0]
        files = {name: REPOSITORY / name for name in quoted if (REPOSITORY / name).is_file()}
        files |= {name: folder / name for name in quoted if (folder / name).is_file()}
        text = "\n".join(path.read_text() for path in files.values())
        for name in quoted:
            words = set(re.findall(r"\w+", name))
            if name not in files and ("/" in name or not words <= set(re.findall(r"\w+", text))):
                missing.append(name)
    assert missing == []


def seconds(file: str, constant: str) -> int:
    """A constant of Go that is a number of seconds."""
    match = re.search(
        rf"\b{constant} += (\d+) \* time\.Second$", (REPOSITORY / file).read_text(), re.MULTILINE
    )
    assert match is not None, f"{file} has no {constant}"
    return int(match[1])


def test_the_steps_of_the_end_take_as_long_as_the_code_lets_them() -> None:
    grace = seconds("python_server.go", "serverGracePeriod")
    requests = seconds("generation.go", "exitTimeout")
    shutdown = seconds("generation.go", "shutdownTimeout")
    leave = seconds("python.go", "leaveTimeout")

    text = section(DOCS / "deploying.md", "## When the server stops")
    steps = re.findall(r"^\| \d\. .+ \| (.+) \|$", text, re.MULTILINE)
    limits = [[int(number) for number in re.findall(r"(\d+) s\b", step)] for step in steps]
    assert limits == [[grace], [requests], [requests], [shutdown], [leave], [leave]]
    after = shutdown + 2 * leave
    assert f"twice that time and {after} seconds" in text
    whole = f"{grace + max(grace, requests) + after} seconds"
    assert whole in text
    assert whole in (DOCS / "command-line.md").read_text()


# Names of Caddy and Linux.
FOREIGN = {"caddy.UsagePool", "max_header_bytes", "SO_REUSEPORT"}


def test_names_in_the_architecture_are_in_the_code() -> None:
    """Names of functions, types, fields, files: all that is a name with or without dots. In
    pictures, only what has a dot or an underscore is known to be a name."""
    known = repository_files()
    files = {file.rpartition("/")[2] for file in known}
    # Of the tests in Python, this one has every name.
    code = re.compile(r"(?!tests/(?!fuzz/)).+\.(?:go|c|h|py|pyi)")
    sources = [REPOSITORY / file for file in known if code.fullmatch(file)]
    words = {word for path in sources for word in re.findall(r"\w+", path.read_text())}
    prose = FENCED.sub("", ARCHITECTURE.read_text())
    names = set(re.findall(r"`(\w+(?:\.\w+)*)(?:\(\w*\))?`", prose))
    pictures = [picture.read_text() for picture in (DOCS / "pictures").glob("*.svg")]
    texts = re.findall(r"<text[^>]*>([^<]+)</text>", "".join(pictures))
    names |= set(re.findall(r"\w+(?:[._]\w+)+", " ".join(texts)))
    assert {"snake_push", "appLog", "AppView.load", "core.h"} <= names
    unknown = {name for name in names - files if not set(name.split(".")) <= words}
    assert unknown == FOREIGN


def test_the_modules_that_the_installation_shows_are_there() -> None:
    match = re.search(
        r"list-modules \| grep python\n\n.+\n\n((?: {4}\S+\n)+)", INSTALLATION.read_text()
    )
    assert match is not None
    listing = subprocess.run([BINARY, "list-modules"], capture_output=True, text=True, timeout=60)
    assert match[1].split() == [line for line in listing.stdout.splitlines() if "python" in line]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(REPOSITORY)))
def test_links_lead_somewhere(page: Path) -> None:
    broken = []
    for link in LINK.findall(FENCED.sub("", page.read_text())):
        if re.match(r"\w+:", link):
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        if not target.exists() or (anchor and anchor not in anchors(target)):
            broken.append(link)
    assert broken == []


def test_make_has_the_targets_that_are_named() -> None:
    makefile = (REPOSITORY / "Makefile").read_text()
    prose = "\n".join(page.read_text() for page in PAGES)
    # Code is between backticks or indented, and may set variables first.
    commands = re.findall(
        r"(?:`|^ {4,})make((?: [A-Z]+=\S+)*) ([a-z][a-z0-9-]*)", prose, re.MULTILINE
    )
    named = {target for _, target in commands}
    assert "run" in named
    assert {name for name in named if not re.search(rf"^{name}:", makefile, re.MULTILINE)} == set()


def test_every_page_names_the_same_packages_for_make() -> None:
    packages = packages_for("What is needed")
    assert packages_in(README) == ["git", *packages, "curl"]
    assert f"`apt-get install {' '.join(packages)}`" in CONTRIBUTING.read_text()


def test_versions_of_python_are_those_that_are_tested() -> None:
    """`make` builds for them, `.ci/run` tests with each of them, and pip is told of them."""
    first, last = MINORS[0], MINORS[-1]
    assert [f"3.{number}" for number in range(int(first[2:]), int(last[2:]) + 1)] == MINORS
    # Decisions are of their time.
    current = [page for page in PAGES if page.parent.name != "decisions"]
    others = ["Makefile", "tests/requirements.txt"]
    texts = {page: page.read_text() for page in [*current, *map(REPOSITORY.joinpath, others)]}
    named = {page: re.findall(r"\b3\.\d+ to 3\.\d+\b", text) for page, text in texts.items()}
    assert {span for spans in named.values() for span in spans} == {f"{first} to {last}"}
    for name in ("README.md", "CONTRIBUTING.md", "docs/installation.md", *others):
        assert named[REPOSITORY / name], name
    loose = re.compile(r"CPython 3\.\d+ (?:and|or) newer")
    assert [page for page, text in texts.items() if loose.search(text)] == []


def test_pip_is_told_which_versions_of_python_are_tested() -> None:
    project = (REPOSITORY / "pyproject.toml").read_text()
    assert re.findall(r'"Programming Language :: Python :: (3\.\d+)"', project) == MINORS
    assert re.findall(r'^requires-python = ">=(.+)"$', project, re.MULTILINE) == MINORS[:1]
