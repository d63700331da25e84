"""What README.md and docs/installation.md tell their readers, for tests that do just that."""

from __future__ import annotations

import re

from harness.settings import REPOSITORY

README = (REPOSITORY / "README.md").read_text()
PAGE = (REPOSITORY / "docs" / "installation.md").read_text()


def packages_in(text: str) -> list[str]:
    """Debian's packages that the first `apt-get install` line of the text installs."""
    match = re.search(r"^ +apt-get install (.+)$", text, re.MULTILINE)
    assert match is not None, text
    return match[1].split()


def packages_for(heading: str) -> list[str]:
    """Debian's packages that the section of docs/installation.md with this heading installs."""
    section = re.split(r"^#+ ", PAGE.partition(f"# {heading}\n")[2], flags=re.MULTILINE)[0]
    return packages_in(section)
