"""The checks of CPython's insides: what they say of a Python that lacks something."""

from __future__ import annotations

import sys

import pytest
import stand_in  # noqa: F401

from caddysnake_py import cpython
from caddysnake_py.cpython import ASSUMPTIONS, Assumption

NEWER = (3, 99, 1)


@pytest.fixture(autouse=True)
def forget(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cpython, "absent", set())


def assumption(needed_for: str) -> Assumption:
    return Assumption("some._name", "3.10", needed_for, lambda: False)


@pytest.mark.smoke
@pytest.mark.parametrize("each", ASSUMPTIONS, ids=lambda each: each.name)
def test_what_is_assumed_holds_on_this_python(each: Assumption) -> None:
    assert each.holds()


@pytest.mark.smoke
def test_a_newer_python_that_has_everything_is_not_spoken_of() -> None:
    assert cpython.check(version=NEWER) is None
    assert cpython.absent == set()


@pytest.mark.parametrize(
    ("owner", "name", "needed_for"),
    [
        (cpython, "load_unlocked", cpython.APART),
        (cpython, "exec_again", cpython.APART),
        (cpython, "get_module_lock", cpython.APART),
        (cpython, "find_and_load", cpython.APART),
        (cpython, "lock_unlock_module", cpython.APART),
        (cpython, "find_spec", cpython.APART),
        (cpython, "gcd_import", cpython.APART),
        (cpython, "get_code", cpython.APART),
        (cpython.importlib, "_RELOADING", cpython.APART),
        (cpython, "environment_data", cpython.ENVIRONMENT),
        (cpython, "run_exit_functions", cpython.EXIT),
        (cpython.asyncio.selector_events.BaseSelectorEventLoop, "_close_self_pipe", cpython.LOOPS),
        (cpython, "LOOP_SOCKETS", cpython.WAKING),
    ],
)
def test_a_missing_name_is_noticed(
    monkeypatch: pytest.MonkeyPatch, owner: object, name: str, needed_for: str
) -> None:
    if owner is cpython:
        monkeypatch.setattr(cpython, name, None)  # as `private` gives it
    else:
        monkeypatch.delattr(owner, name)
    (failed,) = cpython.missing(ASSUMPTIONS)
    assert failed.needed_for == needed_for


def test_a_function_with_other_parameters_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cpython, "load_unlocked", lambda module, spec: None)
    assert [each.name for each in cpython.missing(ASSUMPTIONS)] == [
        "importlib._bootstrap._load_unlocked"
    ]


def test_a_name_that_was_never_there_is_none() -> None:
    assert cpython.private(sys, "_no_such_name") is None
    assert cpython.private(None, "_no_such_name") is None


def test_what_can_be_done_without_is_said_in_one_line() -> None:
    text = cpython.check([assumption(cpython.POOLS), assumption(cpython.EXIT)], NEWER)
    assert text == (
        "Python 3.99.1 is newer than 3.15, the newest that caddysnake was tested with, and is not "
        "as expected in: some._name, some._name; so it is not true that functions of atexit run at "
        "the end and that process pools end with their application; all else works"
    )
    assert cpython.absent == {cpython.POOLS, cpython.EXIT}


@pytest.mark.parametrize("needed_for", sorted(cpython.ESSENTIAL))
def test_without_isolation_there_is_no_server(needed_for: str) -> None:
    with pytest.raises(RuntimeError, match=r"^Python 3\.99\.1 .* no application is loaded") as info:
        cpython.check([assumption(needed_for)], NEWER)
    assert "\n" not in str(info.value)


def test_a_tested_python_is_not_examined() -> None:
    assert cpython.check([assumption(cpython.APART)], cpython.NEWEST) is None
    assert cpython.check([assumption(cpython.APART)], (3, 10, 0)) is None
