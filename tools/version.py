"""Determines the version of the checkout or source distribution, in the form of PEP 440."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path


def git(root: Path, *arguments: str) -> str | None:
    """Returns the output of a git command in the checkout; None if it fails or git is missing."""
    try:
        done = subprocess.run(["git", *arguments], cwd=root, capture_output=True, text=True)
    except OSError:
        return None
    return done.stdout.strip() if done.returncode == 0 else None


def version(root: Path) -> str:
    """Returns the version: of a tagged commit its tag, of others a development version of the next
    patch release."""
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
