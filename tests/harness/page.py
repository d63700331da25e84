"""What docs/installation.md tells its readers, for tests that do just that."""

from __future__ import annotations

import re

from harness.settings import REPOSITORY

PAGE = (REPOSITORY / "docs" / "installation.md").read_text()


def packages_for(heading: str) -> list[str]:
    """Debian's packages that the section with this heading has installed."""
    section = re.split(r"^#+ ", PAGE.partition(f"# {heading}\n")[2], flags=re.MULTILINE)[0]
    match = re.search(r"^ +apt-get install (.+)$", section, re.MULTILINE)
    assert match is not None, heading
    return match[1].split()
