"""Which names a directory offers to import."""

from __future__ import annotations

from importlib.machinery import EXTENSION_SUFFIXES
from pathlib import Path

from caddysnake_py.view import importable_names


def test_modules_and_packages_are_offered(tmp_path: Path) -> None:
    for name in ("module.py", "compiled.pyc", "native" + EXTENSION_SUFFIXES[0]):
        (tmp_path / name).touch()
    (tmp_path / "package").mkdir()
    (tmp_path / "package" / "__init__.py").touch()
    (tmp_path / "namespace").mkdir()
    assert importable_names(str(tmp_path)) == {
        "module",
        "compiled",
        "native",
        "package",
        "namespace",
    }


def test_other_files_are_not(tmp_path: Path) -> None:
    for name in ("data.txt", "not-a-name.py", "archive.tar.py", ".hidden.py", "README"):
        (tmp_path / name).touch()
    (tmp_path / "__pycache__").mkdir()
    assert importable_names(str(tmp_path)) == set()


def test_a_bare_directory_does_not_hide_the_standard_library(tmp_path: Path) -> None:
    (tmp_path / "email").mkdir()
    assert importable_names(str(tmp_path)) == set()
    (tmp_path / "email" / "__init__.py").touch()
    assert importable_names(str(tmp_path)) == {"email"}


def test_what_is_no_directory_offers_nothing(tmp_path: Path) -> None:
    assert importable_names(str(tmp_path / "archive.zip")) == set()
