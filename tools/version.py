"""The version of the checkout, or of the source distribution, in the form of Python's packages."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path


def git(root: Path, *arguments: str) -> str | None:
    """What a git command prints in the checkout; None where it fails, or where there is no git."""
    try:
        done = subprocess.run(["git", *arguments], cwd=root, capture_output=True, text=True)
    except OSError:
        return None
    return done.stdout.strip() if done.returncode == 0 else None


def version(root: Path) -> str:
    """A tagged commit has the version of its tag; others are on the way to the version after it."""
    if (root / "PKG-INFO").exists():
        match = re.search(r"^Version: (.+)$", (root / "PKG-INFO").read_text(), re.MULTILINE)
        assert match is not None
        return match[1]
    described = git(root, "describe", "--tags", "--long", "--match", "v[0-9]*.[0-9]*.[0-9]*")
    if described is not None:
        match = re.fullmatch(r"v(\d+\.\d+)\.(\d+)-(\d+)-(g\w+)", described)
        assert match is not None, described
        if match[3] == "0":
            return f"{match[1]}.{match[2]}"
        return f"{match[1]}.{int(match[2]) + 1}.dev{match[3]}+{match[4]}"
    count = git(root, "rev-list", "--count", "HEAD")
    commit = git(root, "rev-parse", "--short", "HEAD")
    return f"0.1.0.dev{count}+g{commit}" if count and commit else "0.1.0.dev0"
