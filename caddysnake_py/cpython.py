"""What caddysnake knows of CPython's insides: every private name, replaced function and assumption,
with the versions that it was seen in, and a check of each.

The checks are made at the start of a Python that is newer than all that the test suite runs on. One
that fails costs what needs it, which is said in one line, and the server only where applications
could not be kept apart.

Other modules take private names from here. One that CPython lacks is None.
"""

from __future__ import annotations

import asyncio
import atexit
import builtins
import dataclasses
import gc
import importlib
import os
import subprocess
import sys
import threading
import typing
import weakref
from collections.abc import Callable, Iterable, Sequence
from types import ModuleType
from typing import Any

import _caddysnake

# The newest Python that the test suite runs on.
NEWEST = (3, 15)

# importlib's own modules, for which there are no types.
bootstrap: Any = sys.modules.get("_frozen_importlib")
external: Any = sys.modules.get("_frozen_importlib_external")


def private(owner: object, name: str) -> Any:
    """An attribute that other versions of CPython may not have: then it is None."""
    return getattr(owner, name, None)


load_unlocked = private(bootstrap, "_load_unlocked")
exec_again = private(bootstrap, "_exec")
get_module_lock = private(bootstrap, "_get_module_lock")
find_and_load = private(bootstrap, "_find_and_load")
lock_unlock_module = private(bootstrap, "_lock_unlock_module")
find_spec = private(bootstrap, "_find_spec")
gcd_import = private(bootstrap, "_gcd_import")
get_code = private(private(external, "SourceLoader"), "get_code")
# Python leaves frames of this file out of tracebacks.
importlib_file: str = (
    gcd_import.__code__.co_filename
    if hasattr(gcd_import, "__code__")
    else "<frozen importlib._bootstrap>"
)
run_exit_functions = private(atexit, "_run_exitfuncs")
evaluate_reference = private(typing.ForwardRef, "_evaluate")  # until 3.13
environment_data = private(os.environ, "_data")
lazy_import = private(builtins, "__lazy_import__")  # since 3.15
set_lazy_attributes = private(sys.modules.get("_imp"), "_set_lazy_attributes")  # since 3.15

# All with which a thread can be started, in `_thread` and `threading`.
THREAD_STARTERS = (
    "start_new_thread",
    "_start_new_thread",
    "start_joinable_thread",  # since 3.13
    "_start_joinable_thread",
)


def runs_in_interpreters(executor: object) -> bool:
    """Whether a ``ThreadPoolExecutor`` is one of those whose threads have interpreters of their own
    (since 3.14). These have no views, and take only what can be pickled."""
    modules = (each.__module__ for each in type(executor).__mro__)
    return "concurrent.futures.interpreter" in modules


# Where _posixsubprocess.fork_exec() has the environment among its arguments.
FORK_EXEC_ENV = 5
# What asyncio's loops call to be woken, and for what they need for it.
LOOP_METHODS = ("_make_self_pipe", "_close_self_pipe", "_write_to_self")


def replace_importlib(**functions: Callable[..., Any]) -> None:
    """Puts functions in the place of those of importlib's that have these names.

    importlib looks them up by name, also where it is written in C.
    """
    for name, function in functions.items():
        setattr(bootstrap, f"_{name}", function)


def replace_get_code(function: Callable[..., Any]) -> None:
    """Has the loader of source files get code from a function."""
    external.SourceLoader.get_code = function


def replace_reloading(modules: dict[Any, ModuleType]) -> None:
    """Has ``importlib.reload`` keep what it is about to do in another dict."""
    importlib._RELOADING = modules  # type: ignore[attr-defined]


def replace_lazy_import(function: Callable[..., Any]) -> None:
    """Has ``lazy import`` call another function."""
    builtins.__lazy_import__ = function  # type: ignore[attr-defined]


def replace_set_lazy_attributes(function: Callable[[Any, str], None]) -> None:
    """Has importlib call another function with each module that it has loaded, and its name."""
    sys.modules["_imp"]._set_lazy_attributes = function  # type: ignore[attr-defined]


def replace_fork_exec(wrap: Callable[[Callable[..., int]], Callable[..., int]]) -> None:
    """Wraps what ``subprocess``, ``asyncio`` and ``multiprocessing`` start programs with."""
    import _posixsubprocess

    _posixsubprocess.fork_exec = wrap(_posixsubprocess.fork_exec)
    if hasattr(subprocess, "_fork_exec"):  # since 3.11
        subprocess._fork_exec = _posixsubprocess.fork_exec


def replace_environment(data: Any) -> None:
    """Has ``os.environ`` and ``os.environb`` keep everything in another mapping."""
    os.environ._data = os.environb._data = data  # type: ignore[attr-defined]


def end_process_pools(futures: Any) -> list[tuple[Any, Any]]:
    """Tells all executors of ``concurrent.futures.process`` that Python ends. Returns the threads
    that manage those that run, each with what wakes it."""
    futures._global_shutdown = True
    return [each for each in futures._threads_wakeups.items() if each[0].is_alive()]


# What parts of the server need. The first three must work.
APART = "applications are kept apart"
ENVIRONMENT = "applications have variables of their own"
THREADS = "threads belong to the application that starts them"
PROGRAMS = "programs that an application starts get its environment"
HINTS = "type hints are an application's own"
POOLS = "process pools end with their application"
LOOPS = "event loops share the server's selector"
LAZY = "lazy imports are an application's own"
FREEING = "unloaded applications are freed alone"
EXIT = "functions of atexit run at the end"
ESSENTIAL = frozenset({APART, ENVIRONMENT, THREADS})


@dataclasses.dataclass(frozen=True, slots=True)
class Assumption:
    """One thing that is not documented.

    Attributes:
        name: what one would look for in CPython's sources.
        seen: the versions.
        needed_for: one of the constants above.
        holds: an exception means that it does not.
    """

    name: str
    seen: str
    needed_for: str
    holds: Callable[[], bool]


def takes(function: Any, *parameters: str) -> bool:
    """Whether a function of Python's begins with these positional parameters."""
    code = function.__code__
    return bool(code.co_varnames[: code.co_argcount][: len(parameters)] == parameters)


def _fork_exec_has_env() -> bool:
    import _posixsubprocess

    signature = private(_posixsubprocess.fork_exec, "__text_signature__") or ""
    names = [name.strip() for name in signature.strip("()").split(",")]
    return not signature or names[1 + FORK_EXEC_ENV] == "env"


def _has_pool_internals() -> bool:
    from concurrent.futures import process

    names = ("_global_shutdown", "_threads_wakeups")
    manager = process._ExecutorManagerThread
    return all(hasattr(process, name) for name in names) and issubclass(manager, threading.Thread)


_EVER = "3.10 to 3.15"

ASSUMPTIONS = (
    Assumption(
        "importlib._bootstrap._load_unlocked", _EVER, APART, lambda: takes(load_unlocked, "spec")
    ),
    Assumption(
        "importlib._bootstrap._exec", _EVER, APART, lambda: takes(exec_again, "spec", "module")
    ),
    Assumption(
        "importlib._bootstrap._get_module_lock",
        _EVER,
        APART,
        lambda: takes(get_module_lock, "name"),
    ),
    Assumption(
        "importlib._bootstrap._find_and_load",
        _EVER,
        APART,
        lambda: takes(find_and_load, "name", "import_"),
    ),
    Assumption(
        "importlib._bootstrap._lock_unlock_module",
        _EVER,
        APART,
        lambda: takes(lock_unlock_module, "name"),
    ),
    Assumption(
        "importlib._bootstrap._find_spec", _EVER, APART, lambda: takes(find_spec, "name", "path")
    ),
    Assumption("importlib._bootstrap._gcd_import", _EVER, APART, lambda: takes(gcd_import, "name")),
    Assumption("SourceLoader.get_code", _EVER, APART, lambda: takes(get_code, "self", "fullname")),
    Assumption(
        "importlib._RELOADING",
        _EVER,
        APART,
        lambda: type(importlib._RELOADING) is dict,  # type: ignore[attr-defined]
    ),
    Assumption("sys.modules is a dict", _EVER, APART, lambda: type(sys.modules) is dict),
    Assumption("os.environ._data", _EVER, ENVIRONMENT, lambda: type(environment_data) is dict),
    Assumption(
        "threading._start_new_thread or _start_joinable_thread",
        "3.10 to 3.12, 3.13 to 3.15",
        THREADS,
        lambda: any(hasattr(threading, name) for name in THREAD_STARTERS),
    ),
    Assumption("_posixsubprocess.fork_exec(…, env, …)", _EVER, PROGRAMS, _fork_exec_has_env),
    Assumption(
        "typing.ForwardRef._evaluate",
        "3.10 to 3.13; later ones keep no results",
        HINTS,
        lambda: sys.version_info >= (3, 14) or evaluate_reference is not None,
    ),
    Assumption("concurrent.futures.process._threads_wakeups", _EVER, POOLS, _has_pool_internals),
    Assumption(
        "SelectorEventLoop._write_to_self and _make_self_pipe",
        _EVER,
        LOOPS,
        lambda: all(hasattr(asyncio.SelectorEventLoop, name) for name in LOOP_METHODS),
    ),
    Assumption(
        "builtins.__lazy_import__ and _imp._set_lazy_attributes",
        "3.15; earlier ones have neither",
        LAZY,
        lambda: (lazy_import is None) == (set_lazy_attributes is None),
    ),
    Assumption("atexit._run_exitfuncs", _EVER, EXIT, lambda: callable(run_exit_functions)),
)


def _view_is_asked() -> bool:
    """The class of ``sys.modules`` and that of ``sys`` are asked, however often a line has run."""

    class Probe(_caddysnake.View):
        pass

    name = "caddysnake_probe"
    view = Probe(0, None)
    view.path, view.modules[name] = [name], ModuleType(name)
    found: dict[str, Any] = {}
    before = _caddysnake.switch(view)
    try:
        exec(f"import {name} as by_statement", found)
        by_importlib = importlib.import_module(name)
        for _ in range(200):
            path = sys.path
    finally:
        _caddysnake.switch(before)
    is_found = found["by_statement"] is by_importlib is view.modules[name]
    return is_found and path == [name] and name not in sys.modules


def _young_garbage_is_freed() -> bool:
    class Cycle:
        itself: Cycle

    cycle = Cycle()
    cycle.itself = cycle
    gc.collect()  # it is old now
    alive = weakref.ref(cycle)
    listed: list[object] = [cycle]
    del cycle
    _caddysnake.collect(listed)
    return alive() is None


# These are made when the server's own parts are in place.
BEHAVIOUR = (
    Assumption("the class of sys.modules and of sys is asked", _EVER, APART, _view_is_asked),
    Assumption("an object that is tracked anew is young", _EVER, FREEING, _young_garbage_is_freed),
)

absent: set[str] = set()
"""What does not work on this Python."""


def missing(assumptions: Iterable[Assumption]) -> list[Assumption]:
    """Those that do not hold."""

    def fails(assumption: Assumption) -> bool:
        try:
            return not assumption.holds()
        except Exception:
            return True

    return [each for each in assumptions if fails(each)]


def describe(version: Sequence[int], failed: Sequence[Assumption]) -> str:
    """One line: which Python it is, what it lacks, and what still works."""
    newest = "{}.{}".format(*NEWEST)
    names = ", ".join(each.name for each in failed)
    costs = sorted({each.needed_for for each in failed})
    text = "Python {}.{}.{}".format(*version[:3])
    text += f" is newer than {newest}, the newest that caddysnake was tested with, and is not as "
    text += f"expected in: {names}; so it is not true that {' and that '.join(costs)}; "
    if ESSENTIAL & set(costs):
        return text + "so no application is loaded: use an older Python"
    return text + "all else works"


def check(
    assumptions: Iterable[Assumption] = ASSUMPTIONS,
    version: Sequence[int] = tuple(sys.hexversion.to_bytes(4, "big")[:3]),
) -> str | None:
    """Checks what is assumed of a Python that is newer than all that were tested.

    Returns:
        What to warn of, or None.

    Raises:
        RuntimeError: applications could not be kept apart.
    """
    if tuple(version[:2]) <= NEWEST:
        return None
    failed = missing(assumptions)
    if not failed:
        return None
    text = describe(version, failed)
    absent.update(each.needed_for for each in failed)
    if absent & ESSENTIAL:
        raise RuntimeError(text)
    return text
