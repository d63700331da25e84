"""CPython internals that caddysnake depends on: every private name, replaced function and
assumption, with the versions in which it was verified, and a check for each.

The checks run at startup if Python is newer than every version that the test suite runs on. A
failed check disables the features that need the assumption, and one log line names them. The server
refuses to run only if applications could not be kept apart.

Other modules import private names from here. A name that this CPython lacks is None.
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

# importlib's own modules; typeshed has no types for them.
bootstrap: Any = sys.modules.get("_frozen_importlib")
external: Any = sys.modules.get("_frozen_importlib_external")


def private(owner: object, name: str) -> Any:
    """Returns a private attribute; None if this version of CPython lacks it."""
    return getattr(owner, name, None)


load_unlocked = private(bootstrap, "_load_unlocked")
exec_again = private(bootstrap, "_exec")
get_module_lock = private(bootstrap, "_get_module_lock")
find_and_load = private(bootstrap, "_find_and_load")
lock_unlock_module = private(bootstrap, "_lock_unlock_module")
find_spec = private(bootstrap, "_find_spec")
gcd_import = private(bootstrap, "_gcd_import")
get_code = private(private(external, "SourceLoader"), "get_code")
# Python removes frames of this file from the tracebacks of failed imports.
importlib_file: str = (
    gcd_import.__code__.co_filename
    if hasattr(gcd_import, "__code__")
    else "<frozen importlib._bootstrap>"
)
run_exit_functions = private(atexit, "_run_exitfuncs")
join_threads = private(threading, "_shutdown")
evaluate_reference = private(typing.ForwardRef, "_evaluate")  # until 3.13
environment_data = private(os.environ, "_data")
lazy_import = private(builtins, "__lazy_import__")  # since 3.15
set_lazy_attributes = private(sys.modules.get("_imp"), "_set_lazy_attributes")  # since 3.15

# All functions of `_thread` and `threading` that start a thread.
THREAD_STARTERS = (
    "start_new_thread",
    "_start_new_thread",
    "start_joinable_thread",  # since 3.13
    "_start_joinable_thread",
)


def runs_in_interpreters(executor: object) -> bool:
    """Returns whether an executor is an ``InterpreterPoolExecutor`` (since 3.14). Its threads run
    subinterpreters, which have no views and accept only picklable objects."""
    modules = (each.__module__ for each in type(executor).__mro__)
    return "concurrent.futures.interpreter" in modules


# The index of the environment among the arguments of _posixsubprocess.fork_exec().
FORK_EXEC_ENV = 5
# Methods of asyncio's loops that create, close and use the self-pipe.
LOOP_METHODS = ("_make_self_pipe", "_close_self_pipe", "_write_to_self")
# The sockets that the first of them creates.
LOOP_SOCKETS = ("_ssock", "_csock")


def replace_importlib(**functions: Callable[..., Any]) -> None:
    """Replaces the private functions of importlib with these names (without the underscore).

    importlib looks the functions up by name at each call, even from C.
    """
    for name, function in functions.items():
        setattr(bootstrap, f"_{name}", function)


def replace_get_code(function: Callable[..., Any]) -> None:
    """Replaces ``SourceLoader.get_code``."""
    external.SourceLoader.get_code = function


def replace_reloading(modules: dict[Any, ModuleType]) -> None:
    """Replaces the dict in which ``importlib.reload`` records the modules being reloaded."""
    importlib._RELOADING = modules  # type: ignore[attr-defined]


def replace_lazy_import(function: Callable[..., Any]) -> None:
    """Replaces the function that a ``lazy import`` statement calls (PEP 810)."""
    builtins.__lazy_import__ = function  # type: ignore[attr-defined]


def replace_set_lazy_attributes(function: Callable[[Any, str], None]) -> None:
    """Replaces the function that importlib calls with each loaded module and the module's name."""
    sys.modules["_imp"]._set_lazy_attributes = function  # type: ignore[attr-defined]


def replace_fork_exec(wrap: Callable[[Callable[..., int]], Callable[..., int]]) -> None:
    """Wraps the function with which ``subprocess``, ``asyncio`` and ``multiprocessing`` start
    programs."""
    import _posixsubprocess

    _posixsubprocess.fork_exec = wrap(_posixsubprocess.fork_exec)
    if hasattr(subprocess, "_fork_exec"):  # since 3.11
        subprocess._fork_exec = _posixsubprocess.fork_exec


def replace_make_self_pipe(wrap: Callable[[Callable[[Any], None]], Callable[[Any], None]]) -> None:
    """Wraps the method with which asyncio's loops open the sockets that wake them."""
    base: Any = asyncio.selector_events.BaseSelectorEventLoop
    base._make_self_pipe = wrap(base._make_self_pipe)


def self_pipe(loop: object) -> list[int]:
    """Returns the descriptors of the sockets that wake a loop of asyncio."""
    return [getattr(loop, name).fileno() for name in LOOP_SOCKETS]


def replace_environment(data: Any) -> None:
    """Replaces the mapping that backs ``os.environ`` and ``os.environb``."""
    os.environ._data = os.environb._data = data  # type: ignore[attr-defined]


def end_process_pools(futures: Any) -> list[tuple[Any, Any]]:
    """Tells all executors of ``concurrent.futures.process`` that Python is shutting down.

    Returns:
        The running manager threads, each with the object that wakes it up.
    """
    futures._global_shutdown = True
    return [each for each in futures._threads_wakeups.items() if each[0].is_alive()]


# Features of the server that depend on assumptions. The first three are essential.
APART = "applications are kept apart"
ENVIRONMENT = "applications have variables of their own"
THREADS = "threads belong to the application that starts them"
PROGRAMS = "programs that an application starts get its environment"
HINTS = "type hints are an application's own"
POOLS = "process pools end with their application"
LOOPS = "event loops share the server's selector"
WAKING = "applications can't close the sockets that wake event loops"
LAZY = "lazy imports are an application's own"
FREEING = "unloaded applications are freed alone"
EXIT = "functions of atexit run at the end"
JOINING = "a worker waits at its end for the application's threads"
ESSENTIAL = frozenset({APART, ENVIRONMENT, THREADS})


@dataclasses.dataclass(frozen=True, slots=True)
class Assumption:
    """An assumption about undocumented behaviour of CPython.

    Attributes:
        name: a name to search for in CPython's sources.
        seen: the versions in which the assumption was verified.
        needed_for: the feature that depends on it: one of the constants above.
        holds: checks the assumption; an exception means that it does not hold.
    """

    name: str
    seen: str
    needed_for: str
    holds: Callable[[], bool]


def has_parameters(function: Any, *parameters: str) -> bool:
    """Returns whether the first positional parameters of a Python function have these names."""
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


def _self_pipe_is_two_sockets() -> bool:
    names = asyncio.selector_events.BaseSelectorEventLoop._make_self_pipe.__code__.co_names  # type: ignore[attr-defined]
    return set(LOOP_SOCKETS) <= set(names)


_EVER = "3.10 to 3.15"

ASSUMPTIONS = (
    Assumption(
        "importlib._bootstrap._load_unlocked",
        _EVER,
        APART,
        lambda: has_parameters(load_unlocked, "spec"),
    ),
    Assumption(
        "importlib._bootstrap._exec",
        _EVER,
        APART,
        lambda: has_parameters(exec_again, "spec", "module"),
    ),
    Assumption(
        "importlib._bootstrap._get_module_lock",
        _EVER,
        APART,
        lambda: has_parameters(get_module_lock, "name"),
    ),
    Assumption(
        "importlib._bootstrap._find_and_load",
        _EVER,
        APART,
        lambda: has_parameters(find_and_load, "name", "import_"),
    ),
    Assumption(
        "importlib._bootstrap._lock_unlock_module",
        _EVER,
        APART,
        lambda: has_parameters(lock_unlock_module, "name"),
    ),
    Assumption(
        "importlib._bootstrap._find_spec",
        _EVER,
        APART,
        lambda: has_parameters(find_spec, "name", "path"),
    ),
    Assumption(
        "importlib._bootstrap._gcd_import", _EVER, APART, lambda: has_parameters(gcd_import, "name")
    ),
    Assumption(
        "SourceLoader.get_code", _EVER, APART, lambda: has_parameters(get_code, "self", "fullname")
    ),
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
    Assumption("BaseSelectorEventLoop._ssock and _csock", _EVER, WAKING, _self_pipe_is_two_sockets),
    Assumption(
        "builtins.__lazy_import__ and _imp._set_lazy_attributes",
        "3.15; earlier ones have neither",
        LAZY,
        lambda: (lazy_import is None) == (set_lazy_attributes is None),
    ),
    Assumption("atexit._run_exitfuncs", _EVER, EXIT, lambda: callable(run_exit_functions)),
    Assumption("threading._shutdown", _EVER, JOINING, lambda: callable(join_threads)),
)


def _view_is_asked() -> bool:
    """Returns whether the interpreter consults the classes of ``sys.modules`` and ``sys``, even
    after a line has run so often that its bytecode is specialized (PEP 659)."""

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
    gc.collect()  # moves the cycle to the oldest generation
    alive = weakref.ref(cycle)
    listed: list[object] = [cycle]
    del cycle
    _caddysnake.collect(listed)
    return alive() is None


# These checks run after the server's replacements have been installed.
BEHAVIOUR = (
    Assumption("the class of sys.modules and of sys is asked", _EVER, APART, _view_is_asked),
    Assumption("an object that is tracked again is young", _EVER, FREEING, _young_garbage_is_freed),
)

absent: set[str] = set()
"""Features that do not work on this Python."""


def missing(assumptions: Iterable[Assumption]) -> list[Assumption]:
    """Returns the assumptions that do not hold."""

    def fails(assumption: Assumption) -> bool:
        try:
            return not assumption.holds()
        except Exception:
            return True

    return [each for each in assumptions if fails(each)]


def describe(version: Sequence[int], failed: Sequence[Assumption]) -> str:
    """Returns one line that names the Python version, the failed assumptions and their effects."""
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
    """Checks the assumptions if this Python is newer than the newest tested one.

    Returns:
        The text of a warning, or None.

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
