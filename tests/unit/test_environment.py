"""Virtual environments and env files."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from caddysnake_py.environment import read_env_file, site_packages
from caddysnake_py.loader import LoadError

RUNNING = f"{sys.version_info.major}.{sys.version_info.minor}"


def make_venv(root: Path, version: str) -> str:
    (root / "lib" / f"python{RUNNING}" / "site-packages").mkdir(parents=True)
    (root / "pyvenv.cfg").write_text(f"home = /usr/bin\nversion = {version}\n")
    return str(root)


def test_site_packages_of_a_fitting_venv(tmp_path: Path) -> None:
    venv = make_venv(tmp_path, f"{RUNNING}.9")
    assert site_packages(venv) == [f"{venv}/lib/python{RUNNING}/site-packages"]


def test_a_venv_of_another_python_is_refused_with_both_versions(tmp_path: Path) -> None:
    with pytest.raises(LoadError, match=rf"Python 3\.2\.1.*{sys.version.split()[0]}"):
        site_packages(make_venv(tmp_path, "3.2.1"))


def test_a_directory_without_pyvenv_cfg_is_no_venv(tmp_path: Path) -> None:
    with pytest.raises(LoadError, match="not a virtual environment"):
        site_packages(str(tmp_path))


def test_env_files_have_comments_quotes_and_exports(tmp_path: Path) -> None:
    path = tmp_path / ".env"
    path.write_text(
        "# comment\n\nA=1\nexport B = two words # why\nC='# not a comment'\nD=\"x\"\nE=\nF=a=b#c\n"
    )
    assert read_env_file(str(path)) == {
        "A": "1",
        "B": "two words",
        "C": "# not a comment",
        "D": "x",
        "E": "",
        "F": "a=b#c",
    }


def test_a_wrong_line_of_an_env_file_is_named(tmp_path: Path) -> None:
    path = tmp_path / ".env"
    path.write_text("A=1\nnot an assignment\n")
    with pytest.raises(LoadError, match="line 2"):
        read_env_file(str(path))


def test_a_missing_env_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(LoadError, match="absent"):
        read_env_file(str(tmp_path / "absent"))
