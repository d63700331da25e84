"""From module:variable to the app."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from caddysnake_py.loader import LoadError, load

SOURCE = """
def app(environ, start_response): ...
def make():
    return app
class holder:
    class inner:
        app = staticmethod(app)
number = 3
"""


@pytest.fixture(autouse=True)
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    (tmp_path / "loader_site.py").write_text(SOURCE)
    monkeypatch.syspath_prepend(str(tmp_path))
    yield
    sys.modules.pop("loader_site", None)


@pytest.mark.parametrize("path", ["app", "make()", "holder.inner.app"])
def test_apps_are_found_by_name_factory_and_dotted_path(path: str) -> None:
    assert load(f"loader_site:{path}").__name__ == "app"


def test_a_missing_variable_is_named_with_its_module() -> None:
    with pytest.raises(LoadError, match=r"no 'absent' in .*loader_site\.py"):
        load("loader_site:absent")


def test_a_variable_of_what_has_none_is_missing() -> None:
    with pytest.raises(LoadError, match=r"no 'app' in 3$"):
        load("loader_site:number.app")


def test_what_is_not_callable_is_no_app() -> None:
    with pytest.raises(LoadError, match="int is not callable"):
        load("loader_site:number")


def test_a_missing_module_suggests_the_one_that_was_meant(tmp_path: Path) -> None:
    with pytest.raises(LoadError, match=r"no module 'loader_sit'; did you mean 'loader_site'[?]$"):
        load("loader_sit:app", [str(tmp_path)])
    with pytest.raises(LoadError, match=r"no module 'entirely_different'$"):
        load("entirely_different:app", [str(tmp_path)])


def test_a_missing_module_of_a_package_is_looked_for_there(tmp_path: Path) -> None:
    (tmp_path / "loader_package").mkdir()
    for name in ("__init__", "wsgi"):
        (tmp_path / "loader_package" / f"{name}.py").write_text("")
    with pytest.raises(LoadError, match=r"'loader_package.wsgii'; did you mean 'wsgi'[?]$"):
        load("loader_package.wsgii:app", [str(tmp_path)])


def test_a_module_that_the_app_imports_in_vain_has_its_traceback(tmp_path: Path) -> None:
    (tmp_path / "loader_other.py").write_text("import loader_sit\n")
    with pytest.raises(ModuleNotFoundError, match="No module named 'loader_sit'"):
        load("loader_other:app", [str(tmp_path)])


def test_a_missing_variable_suggests_the_app_that_was_meant() -> None:
    with pytest.raises(LoadError, match=r"loader_site\.py; did you mean 'app'[?]$"):
        load("loader_site:ap")
