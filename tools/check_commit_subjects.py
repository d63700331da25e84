"""Checks the subjects of commits: at most 72 characters, a capital first, no period at the end.

    python tools/check_commit_subjects.py [commit]

Older commits than BASE are as they are. Where git does not have BASE (a source distribution, a
shallow clone), nothing is checked, and one line says so. Whether a subject is an imperative is left
to its author.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parent.parent
BASE = "f161533d4b6b3bda2448d674820de20ebf19563b"
LONGEST = 72


def problems(subject: str) -> Iterator[str]:
    if len(subject) > LONGEST:
        yield f"it has {len(subject)} characters, {LONGEST} are allowed"
    if not subject[:1].isupper():
        yield "it does not begin with a capital"
    if subject.endswith("."):
        yield "it ends with a period"


def git(repository: Path, *arguments: str) -> str | None:
    """What git prints, or None: there is no git, or it fails."""
    try:
        done = subprocess.run(
            ["git", "-C", repository, *arguments], capture_output=True, text=True, check=True
        )
    except (OSError, subprocess.CalledProcessError):
        return None
    return done.stdout


def newer_commits(repository: Path, base: str, head: str) -> list[tuple[str, str]] | None:
    """The commits after the base, as (hash, subject); None if git does not have the base."""
    if git(repository, "merge-base", "--is-ancestor", base, head) is None:
        return None
    listing = git(repository, "log", "--format=%h %s", f"{base}..{head}")
    if listing is None:
        return None
    commits = (line.partition(" ") for line in listing.splitlines())
    return [(commit, subject) for commit, _, subject in commits]


def check(repository: Path, base: str, head: str) -> int:
    """Prints what is wrong; returns the exit code."""
    commits = newer_commits(repository, base, head)
    if commits is None:
        print(f"Commit subjects are not checked: git has no history since {base[:7]} here.")
        return 0
    wrong = [(commit, subject, list(problems(subject))) for commit, subject in commits]
    for commit, subject, found in wrong:
        for problem in found:
            print(f"{commit} {subject!r}: {problem}")
    return 1 if any(found for _, _, found in wrong) else 0


if __name__ == "__main__":
    sys.exit(check(REPOSITORY, BASE, sys.argv[1] if len(sys.argv) > 1 else "HEAD"))
