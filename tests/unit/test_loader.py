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


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    (tmp_path / "loader_site.py").write_text(SOURCE)
    monkeypatch.syspath_prepend(str(tmp_path))
    yield str(tmp_path)
    sys.modules.pop("loader_site", None)


@pytest.mark.parametrize("path", ["app", "make()", "holder.inner.app"])
def test_apps_are_found_by_name_factory_and_dotted_path(site: str, path: str) -> None:
    assert load(f"loader_site:{path}", site).__name__ == "app"


def test_a_missing_variable_is_named_with_its_module(site: str) -> None:
    with pytest.raises(LoadError, match=r"no 'absent' in .*loader_site\.py"):
        load("loader_site:absent", site)


def test_what_is_not_callable_is_no_app(site: str) -> None:
    with pytest.raises(LoadError, match="int is not callable"):
        load("loader_site:number", site)


def test_a_module_of_another_directory_with_the_same_name_is_not_served(
    site: str, tmp_path: Path
) -> None:
    load("loader_site:app", site)
    other = tmp_path / "other"
    other.mkdir()
    (other / "loader_site.py").write_text(SOURCE)
    with pytest.raises(LoadError, match="was loaded under the same name"):
        load("loader_site:app", str(other))
