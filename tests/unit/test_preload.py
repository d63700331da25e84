"""caddysnake_py.preload: what counts as a change of an environment's packages."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from caddysnake_py import preload


@pytest.fixture
def packages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "tool.py").write_text("")
    monkeypatch.setattr(preload, "_folders", lambda: frozenset({str(tmp_path)}))
    return tmp_path


def test_pythons_own_folder_of_bytecode_is_no_change(packages: Path) -> None:
    times = preload.FolderTimes()
    (packages / "__pycache__").mkdir()
    assert times.now() == {str(packages): packages.stat().st_mtime_ns}


def test_a_package_that_was_replaced_meanwhile_is_a_change(packages: Path) -> None:
    times = preload.FolderTimes()
    (packages / "new.py").write_text("")
    os.replace(packages / "new.py", packages / "tool.py")
    assert times.now() == {str(packages): 0}


def test_a_folder_that_is_gone_has_no_time(packages: Path) -> None:
    (packages / "tool.py").unlink()
    times = preload.FolderTimes()
    packages.rmdir()
    assert times.now() == {}
