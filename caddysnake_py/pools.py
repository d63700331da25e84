"""Process pools end with the app that has created them, and with the server.

The threads of a pool refer to the app, and the app to the pool: each reload would leave the old
code and its workers behind. Forked workers do not notice that the server has exited, either.
"""

from __future__ import annotations

import contextlib
import functools
import os
import sys
import weakref
from collections.abc import Callable, Iterator
from time import monotonic, sleep
from types import ModuleType
from typing import Any

import _caddysnake

from caddysnake_py import cpython, imports
from caddysnake_py.layers import AppView, every_layer

_FUTURES = "concurrent.futures.process"
_MULTIPROCESSING = "multiprocessing.pool"

# How long tasks may continue when the server shuts down, in seconds.
_END_SECONDS = 2.0
_TRACKER_SECONDS = 1.0


def owned(init: Callable[..., None], end: Callable[[Any], None]) -> Callable[..., None]:
    """Wraps the ``__init__`` of a pool: the app's exit calls ``end`` with the pool, if it is still
    alive then."""

    def end_if_alive(pool: weakref.ref[Any]) -> None:
        alive = pool()
        if alive is not None:
            end(alive)

    @functools.wraps(init)
    def init_for_app(pool: Any, *args: Any, **kwargs: Any) -> None:
        init(pool, *args, **kwargs)
        view = _caddysnake.current_view()
        if isinstance(view, AppView):
            at_exit = view.at_exit

            def forget(_: object) -> None:
                with contextlib.suppress(ValueError):  # the app's exit has removed the entry
                    at_exit.remove(entry)

            entry: tuple[Any, tuple[Any, ...], dict[str, Any]]
            entry = (end_if_alive, (weakref.ref(pool, forget),), {})
            at_exit.append(entry)

    return init_for_app


def _end_executor(executor: Any) -> None:
    executor.shutdown(wait=False, cancel_futures=True)


def _end_pool(pool: Any) -> None:
    pool.terminate()


def _own_executors(module: ModuleType) -> None:
    executor = module.ProcessPoolExecutor
    executor.__init__ = owned(executor.__init__, _end_executor)


def _own_pools(module: ModuleType) -> None:
    module.Pool.__init__ = owned(module.Pool.__init__, _end_pool)


def end_executors() -> None:
    """Ends the workers of all remaining executors, as Python does at shutdown."""
    futures: Any = sys.modules.get(_FUTURES)
    if futures is None or cpython.POOLS in cpython.absent:
        return
    running = cpython.end_process_pools(futures)
    workers = [worker for manager, _ in running for worker in list(manager.processes.values())]
    for _, wakeup in running:
        with contextlib.suppress(OSError):  # the executor has just ended
            wakeup.wakeup()
    deadline = monotonic() + _END_SECONDS
    for manager, _ in running:
        manager.join(max(0.0, deadline - monotonic()))
    for worker in workers:
        if worker.is_alive():
            worker.terminate()


def _trackers() -> Iterator[Any]:
    """Yields the resource trackers of multiprocessing and loky, which remove shared memory that
    workers have leaked."""
    for modules in (sys.modules, *(layer.modules for layer in every_layer())):
        for name, module in list(modules.items()):
            if name.endswith(".resource_tracker"):
                yield getattr(module, "_resource_tracker", None)


def end_trackers() -> None:
    """Closes the server's pipes to the resource trackers and waits for the trackers to exit, which
    they do when all writers have closed their pipes."""
    waiting: set[int] = set()
    for tracker in _trackers():
        descriptor, pid = getattr(tracker, "_fd", None), getattr(tracker, "_pid", None)
        if descriptor is not None and pid is not None:
            tracker._fd = None
            with contextlib.suppress(OSError):
                os.close(descriptor)
                waiting.add(pid)
    deadline = monotonic() + _TRACKER_SECONDS
    while waiting and monotonic() < deadline:
        for pid in list(waiting):
            with contextlib.suppress(ChildProcessError):
                if os.waitpid(pid, os.WNOHANG) == (0, 0):
                    continue
            waiting.discard(pid)
        sleep(0.005)


def install() -> None:
    """Makes process pools end with the app that creates them."""
    imports.when_loaded(_FUTURES, _own_executors)
    imports.when_loaded(_MULTIPROCESSING, _own_pools)
