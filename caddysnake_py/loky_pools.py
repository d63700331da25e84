"""Per-app process pools of loky, and of the copy in joblib; the pools end with their app.

loky reuses one executor per process. The workers of another app would import the wrong modules,
with the wrong environment.
"""

from __future__ import annotations

import functools
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any

import _caddysnake

from caddysnake_py import imports, pools
from caddysnake_py.layers import AppView

_PACKAGES = ("loky", "joblib.externals.loky")
_STATE = ("_executor", "_executor_kwargs")


def _end(executor: Any) -> None:
    executor.shutdown(wait=False, kill_workers=True)


def _own_executors(module: ModuleType) -> None:
    executor = module.ProcessPoolExecutor
    executor.__init__ = pools.owned(executor.__init__, _end)


def _own_reusable(module: ModuleType) -> None:
    names = vars(module)
    of_apps: weakref.WeakKeyDictionary[AppView, dict[str, Any]] = weakref.WeakKeyDictionary()

    @contextmanager
    def state_of_app() -> Iterator[None]:
        view = _caddysnake.current_view()
        with names["_executor_lock"]:
            before = {name: names[name] for name in _STATE}
            if isinstance(view, AppView):
                names.update(of_apps.get(view) or dict.fromkeys(_STATE))
            try:
                yield
            finally:
                if isinstance(view, AppView):
                    of_apps[view] = {name: names[name] for name in _STATE}
                    names.update(before)

    def in_app(function: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(function)
        def call(*args: Any, **kwargs: Any) -> Any:
            with state_of_app():
                return function(*args, **kwargs)

        return call

    executor = module._ReusablePoolExecutor
    get: Any = vars(executor)["get_reusable_executor"]
    executor.get_reusable_executor = classmethod(in_app(get.__func__))
    submit = executor.submit
    submit_again = in_app(submit)

    @functools.wraps(submit)
    def submit_in_app(self: Any, *args: Any, **kwargs: Any) -> Any:
        # An executor that was shut down passes the task on to its successor, which is per-app.
        return (submit_again if self._flags.shutdown else submit)(self, *args, **kwargs)

    executor.submit = submit_in_app


def install() -> None:
    """Makes the pools of loky per-app."""
    for package in _PACKAGES:
        imports.when_package_loaded(f"{package}.process_executor", _own_executors)
        imports.when_package_loaded(f"{package}.reusable_executor", _own_reusable)
