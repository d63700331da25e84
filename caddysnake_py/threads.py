"""A thread runs under the view of the app that starts it; a job of an executor runs under the view
of the app that submits it."""

from __future__ import annotations

import _thread
import functools
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import _caddysnake

from caddysnake_py import cpython, tracing
from caddysnake_py.layers import AppView


def _inheriting(start: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(start)
    def start_in_app(function: Callable[..., object], *args: Any, **kwargs: Any) -> Any:
        view = _caddysnake.current_view()
        if view is None:
            return start(function, *args, **kwargs)

        running = view.threads if isinstance(view, AppView) else {}

        def run(*run_args: Any, **run_kwargs: Any) -> object:
            _caddysnake.enter(view)
            tracing.begin(view)
            ident = threading.get_ident()
            running[ident] = getattr(function, "__qualname__", "?")
            try:
                return function(*run_args, **run_kwargs)
            finally:
                running.pop(ident, None)
                _caddysnake.enter(None)

        return start(run, *args, **kwargs)

    return start_in_app


jobs: dict[int, int] = {}
"""The apps of threads that run a job of another app, or of an executor: by the thread's identity.
"""


def _run_for(view: _caddysnake.View, function: Callable[..., Any], *args: Any, **kw: Any) -> Any:
    """Runs a function under a view. The thread may belong to another app, for example if the
    executor belongs to a shared package."""
    before = _caddysnake.current_view()
    if before is view:
        return function(*args, **kw)
    ident = threading.get_ident()
    outer = jobs.get(ident)
    jobs[ident] = view.app
    _caddysnake.enter(view)
    try:
        return function(*args, **kw)
    finally:
        _caddysnake.enter(before)
        if outer is None:
            del jobs[ident]
        else:
            jobs[ident] = outer


JOB = _run_for.__code__
"""The code of the frame outside of which a thread works for somebody else."""


def _with_initializer(init: Callable[..., None]) -> Callable[..., None]:
    @functools.wraps(init)
    def init_for_app(
        executor: Any,
        max_workers: int | None = None,
        thread_name_prefix: str = "",
        initializer: Callable[..., Any] | None = None,
        *args: Any,
        **kwargs: Any,
    ) -> None:
        view = _caddysnake.current_view()
        elsewhere = cpython.runs_in_interpreters(executor)
        if view is not None and callable(initializer) and not elsewhere:
            initializer = functools.partial(_run_for, view, initializer)
        init(executor, max_workers, thread_name_prefix, initializer, *args, **kwargs)

    return init_for_app


def _with_callback(add: Callable[..., None]) -> Callable[..., None]:
    @functools.wraps(add)
    def add_for_app(future: Any, function: Callable[[Any], object]) -> None:
        view = _caddysnake.current_view()
        add(future, function if view is None else functools.partial(_run_for, view, function))

    return add_for_app


def _submitting(submit: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(submit)
    def submit_for_app(
        executor: Any, function: Callable[..., Any], /, *args: Any, **kwargs: Any
    ) -> Any:
        view = _caddysnake.current_view()
        if view is None or cpython.runs_in_interpreters(executor):
            return submit(executor, function, *args, **kwargs)
        # Worker threads belong to no app. An idle worker would keep the view alive, hence also an
        # executor in the app's modules, so the executor would never be freed and end the worker.
        before = _caddysnake.switch(None)
        try:
            return submit(executor, _run_for, view, function, *args, **kwargs)
        finally:
            _caddysnake.switch(before)

    return submit_for_app


def names_of(running: Mapping[int, str]) -> list[str]:
    """Returns the names of the threads in `AppView.threads`; the name of the function for threads
    that ``threading`` does not know."""
    known = {thread.ident: thread.name for thread in threading.enumerate()}
    return sorted(known.get(ident, function) for ident, function in list(running.items()))


def start_outside(function: Callable[[], object], name: str) -> None:
    """Starts a daemon thread that belongs to no app, from any thread."""
    before = _caddysnake.switch(None)
    try:
        threading.Thread(target=function, name=name, daemon=True).start()
    finally:
        _caddysnake.switch(before)


def install() -> None:
    """Wraps all functions that start a thread, and those of executors. Aliases get the same
    wrapper."""
    wrapped: dict[object, Callable[..., Any]] = {}
    for module in (_thread, threading):
        for name in cpython.THREAD_STARTERS:
            start = getattr(module, name, None)
            if start is not None:
                setattr(module, name, wrapped.setdefault(start, _inheriting(start)))
    executor: Any = ThreadPoolExecutor
    executor.__init__ = _with_initializer(executor.__init__)
    Future.add_done_callback = _with_callback(Future.add_done_callback)  # type: ignore[method-assign]
    ThreadPoolExecutor.submit = _submitting(ThreadPoolExecutor.submit)  # type: ignore[method-assign]
