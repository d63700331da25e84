"""What copies of a package share."""

from __future__ import annotations

import copy
import importlib.util
import pickle
import sys
from collections.abc import Callable
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from caddysnake_py import copies

FUNCTIONAL = "django.utils.functional"


def copied_text(text: str) -> str:
    """Text that no other object stands for."""
    return "".join(list(text))


def spec_of(folder: Path, name: str, path: str) -> ModuleSpec:
    spec = importlib.util.spec_from_file_location(
        copied_text(name), copied_text(f"{folder}/{path}")
    )
    assert spec is not None
    return spec


@pytest.mark.parametrize(
    ("name", "path"), [("shelf", "shelf/__init__.py"), ("shelf.book", "shelf/book.py")]
)
def test_specs_of_a_module_have_the_same_strings(tmp_path: Path, name: str, path: str) -> None:
    one, two = (spec_of(tmp_path, name, path) for _ in range(2))
    for spec in (one, two):
        copies.share_names(spec)
    first, second = one.loader, two.loader
    assert first is not second
    assert one.name is two.name is first.name is second.name  # type: ignore[union-attr]
    assert one.origin is two.origin is first.path is second.path  # type: ignore[union-attr]
    assert one.cached is two.cached
    fresh = spec_of(tmp_path, name, path)
    for attribute in ("name", "origin", "cached", "parent", "submodule_search_locations"):
        assert getattr(one, attribute) == getattr(fresh, attribute)
    if one.submodule_search_locations is not None:
        assert two.submodule_search_locations is not None
        assert one.submodule_search_locations is not two.submodule_search_locations
        assert one.submodule_search_locations[0] is two.submodule_search_locations[0]


def test_what_is_no_source_file_keeps_its_spec() -> None:
    spec = ModuleSpec(copied_text("namespace"), None, is_package=True)
    name, places = spec.name, spec.submodule_search_locations
    copies.share_names(spec)
    assert spec.name is name
    assert spec.submodule_search_locations is places


@pytest.fixture
def functional(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """An application's copy of Django's module."""
    spec = importlib.util.find_spec(FUNCTIONAL)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, FUNCTIONAL, module)
    spec.loader.exec_module(module)
    return module


class Counted:
    """A function with a memory."""

    def __init__(self, result: Any) -> None:
        self.result = result
        self.calls: list[Any] = []

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        self.calls.append((args, kwargs))
        return self.result


TEXT = "Some %s, of a site"
USES: dict[str, Callable[[Any], object]] = {
    "a method": lambda text: text.upper(),
    "with arguments": lambda text: text.split(" ", maxsplit=1),
    "len": len,
    "iter": list,
    "in": lambda text: "of" in text,
    "index": lambda text: text[2:5],
    "formatted": lambda text: text % "name",
    "as operand": lambda text: "not " + text + "." + text * 2,
    "str": str,
    "repr": repr,
    "format": lambda text: f"{text:>30}",
    "hash": hash,
    "compared": lambda text: (text == TEXT, text != TEXT, text < "T", text >= "T"),
    "joined": lambda text: text.join(["a", "b"]),
    "encoded": lambda text: text.encode(),
    "sized": lambda text: text.__sizeof__(),
    "copied": lambda text: str(copy.deepcopy(text)),
    "pickled": lambda text: text.__reduce__()[1][1:],
    "dir": dir,
}


@pytest.mark.parametrize("use", USES.values(), ids=USES)
def test_lazy_text_is_as_before(functional: ModuleType, use: Callable[[Any], object]) -> None:
    function = Counted(TEXT)
    text = functional.lazy(function, str)(1, two=2)
    before = use(text), list(function.calls)
    function.calls.clear()
    copies.share_lazy_methods(functional)
    assert (use(text), function.calls) == before


def test_lazy_objects_share_what_they_pass_on(functional: ModuleType) -> None:
    makers = [functional.lazy(function, str) for function in (str.upper, str.lower)]
    number = functional.lazy(int, int)
    copies.share_lazy_methods(functional)
    upper, lower = (maker("Text") for maker in makers)
    assert type(upper) is not type(lower)
    assert type(upper).split is type(lower).split
    assert type(upper).__len__ is type(lower).__len__
    assert type(upper).__str__ is not type(lower).__str__
    assert (upper.split("E"), lower.split("e")) == (["T", "XT"], ["t", "xt"])
    assert number("12").bit_length() == 4
    assert not hasattr(number("12"), "split")
    assert not hasattr(upper, "bit_length")


def test_lazy_objects_can_be_pickled(functional: ModuleType) -> None:
    made = functional.lazy(str.upper, str)("text")
    copies.share_lazy_methods(functional)
    assert pickle.loads(pickle.dumps(made)).split("X") == ["TE", "T"]


def test_what_others_have_put_there_stays(functional: ModuleType) -> None:
    def __wrapper__(self: object) -> str:
        return "mine"

    functional.lazy(str.upper, str)
    (proxy,) = functional.Promise.__subclasses__()
    proxy.lower = __wrapper__
    of_django = proxy.split
    # Its methods could not be passed on: it does not know what it stands for.
    other = type("Other", (functional.Promise,), {"split": of_django})
    copies.share_lazy_methods(functional)
    assert proxy.lower is __wrapper__
    assert other.split is of_django
    assert proxy.split is not of_django


@pytest.mark.parametrize("content", [{}, {"Promise": None}, {"Promise": lambda: None}])
def test_another_module_of_that_name_is_left_alone(content: dict[str, object]) -> None:
    module = ModuleType(FUNCTIONAL)
    module.__dict__.update(content)
    before = dict(module.__dict__)
    copies.share_lazy_methods(module)
    assert module.__dict__ == before
