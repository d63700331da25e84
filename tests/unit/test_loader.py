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


def test_what_is_not_callable_is_no_app() -> None:
    with pytest.raises(LoadError, match="int is not callable"):
        load("loader_site:number")
