"""The documentation site: its order, and how each page begins. `make docs` finds broken links."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from harness.documents import DOCS
from harness.settings import REPOSITORY

PAGES = [page for page in sorted(DOCS.rglob("*.md")) if page.parent.name != "decisions"]
NAV = re.findall(
    r"^  - (.+?):", (REPOSITORY / "mkdocs.yml").read_text().partition("\nnav:\n")[2], re.MULTILINE
)


def test_the_first_pages_have_the_names_that_readers_look_for() -> None:
    assert NAV[1:5] == [
        "Installation & Distribution",
        "Configuration Reference",
        "Examples",
        "Architecture",
    ]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(DOCS)))
def test_a_page_begins_with_the_question_that_it_answers(page: Path) -> None:
    title, question = page.read_text().split("\n\n")[:2]
    assert re.fullmatch(r"# .+", title)
    assert re.fullmatch(r"\*\*.+\?\*\*", question.replace("\n", " "))


def test_make_lint_builds_the_site() -> None:
    makefile = (REPOSITORY / "Makefile").read_text()
    assert re.search(r"^lint: .*\bdocs\b", makefile, re.MULTILINE)
    mkdocs = (REPOSITORY / "mkdocs.yml").read_text()
    assert "omitted_files: warn" in mkdocs  # every page is in the list
    assert re.search(r"mkdocs\) build .*--strict", makefile)
