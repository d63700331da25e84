"""Virtual environments, and the variables of an application."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from caddysnake_py.loader import LoadError
from caddysnake_py.venvs import Venv, read_venv, variables

RUNNING = f"{sys.version_info.major}.{sys.version_info.minor}"


def make_venv(root: Path, version: str, more: str = "") -> str:
    (root / "lib" / f"python{RUNNING}" / "site-packages").mkdir(parents=True)
    (root / "pyvenv.cfg").write_text(f"home = /usr/bin\nversion = {version}\n{more}")
    return str(root)


@pytest.mark.parametrize(
    ("line", "sees_host"),
    [
        ("", False),
        ("include-system-site-packages = false\n", False),
        ("include-system-site-packages = true\n", True),
    ],
)
def test_a_fitting_venv(tmp_path: Path, line: str, sees_host: bool) -> None:
    venv = make_venv(tmp_path, f"{RUNNING}.9", line)
    assert read_venv(venv) == Venv((f"{venv}/lib/python{RUNNING}/site-packages",), sees_host)


def test_a_venv_of_another_python_is_refused_with_both_versions(tmp_path: Path) -> None:
    with pytest.raises(LoadError, match=rf"Python 3\.2\.1.*{sys.version.split()[0]}"):
        read_venv(make_venv(tmp_path, "3.2.1"))


def test_a_directory_without_pyvenv_cfg_is_no_venv(tmp_path: Path) -> None:
    with pytest.raises(LoadError, match="not a virtual environment"):
        read_venv(str(tmp_path))


def test_later_files_win_and_lines_of_the_configuration_over_all(tmp_path: Path) -> None:
    (tmp_path / "one").write_text("A=1\nB=1\nC=1\n")
    (tmp_path / "two").write_text("B=2\nC=2\n")
    files = [str(tmp_path / "one"), str(tmp_path / "two")]
    assert variables(files, {"C": "3"}) == {"A": "1", "B": "2", "C": "3"}
