"""Per-app defaults of the standard library: the event loop policy, multiprocessing's start method,
the default timeout of sockets, and the state of ``random``.

Depends on private names: ``asyncio.events._event_loop_policy``,
``multiprocessing.context.DefaultContext._actual_context`` and ``random._inst``.
"""

from __future__ import annotations

import asyncio
import functools
import socket
from asyncio import events
from collections.abc import Callable
from types import MethodType, ModuleType
from typing import Any

from caddysnake_py import imports, settings

_MISSING = object()

# Python 3.14 deprecates policies; its internal functions and classes have an underscore.
_PREFIX = "_" if hasattr(events, "_set_event_loop_policy") else ""
_AbstractPolicy: Any = getattr(events, f"{_PREFIX}AbstractEventLoopPolicy")


def _default_policy() -> Any:
    unix: Any = asyncio.unix_events
    found = getattr(unix, f"{_PREFIX}DefaultEventLoopPolicy", None)
    return (found or unix.DefaultEventLoopPolicy)()


class _PolicyOfApp(_AbstractPolicy):  # type: ignore[misc]
    """The process's policy: delegates to the policy of the current app."""

    def __init__(self) -> None:
        self._of_server = _default_policy()

    def find(self) -> Any:
        """Returns the policy of the current app."""
        own = settings.current()
        if own is None:
            return self._of_server
        policy = own.get("asyncio.policy")
        return own.setdefault("asyncio.policy", _default_policy()) if policy is None else policy

    def get_event_loop(self) -> Any:
        return self.find().get_event_loop()

    def set_event_loop(self, loop: Any) -> None:
        self.find().set_event_loop(loop)

    def new_event_loop(self) -> Any:
        return self.find().new_event_loop()

    def get_child_watcher(self) -> Any:
        return self.find().get_child_watcher()

    def set_child_watcher(self, watcher: Any) -> None:
        self.find().set_child_watcher(watcher)


def _own_policies() -> None:
    process = _PolicyOfApp()
    module: Any = events
    module._event_loop_policy = process

    def set_policy(_: Any, policy: Any) -> None:
        if policy is not None and not isinstance(policy, _AbstractPolicy):
            kind = type(policy).__name__
            raise TypeError(f"policy must be an event loop policy or None, not '{kind}'")
        own = settings.current()
        assert own is not None
        own["asyncio.policy"] = policy

    def get_policy(_: Any) -> Any:
        return process.find()

    for where in (events, asyncio):
        for name, replacement in (("set", set_policy), ("get", get_policy)):
            name = f"{_PREFIX}{name}_event_loop_policy"
            if name in vars(where):
                settings.function_for_apps(where, name, replacement)


class _StartMethod:
    """Per-app ``DefaultContext._actual_context``: the context of the configured start method."""

    def __get__(self, context: Any, owner: object = None) -> Any:
        own = settings.current()
        return (vars(context) if own is None else own).get("multiprocessing.context")

    def __set__(self, context: Any, value: Any) -> None:
        own = settings.current()
        (vars(context) if own is None else own)["multiprocessing.context"] = value


def _own_start_methods(module: ModuleType) -> None:
    module.DefaultContext._actual_context = _StartMethod()


def _own_timeouts() -> None:
    def set_timeout(_: Any, timeout: float | None) -> None:
        if timeout is not None and float(timeout) < 0:
            raise ValueError("Timeout value out of range")
        own = settings.current()
        assert own is not None
        own["socket.timeout"] = None if timeout is None else float(timeout)

    settings.function_for_apps(socket, "setdefaulttimeout", set_timeout)
    settings.function_for_apps(
        socket, "getdefaulttimeout", lambda get: settings.get("socket.timeout", get())
    )
    init = socket.socket.__init__

    @functools.wraps(init)
    def init_for_app(self: socket.socket, *args: Any, **kwargs: Any) -> None:
        init(self, *args, **kwargs)
        timeout = settings.get("socket.timeout", _MISSING)
        if timeout is not _MISSING:
            self.settimeout(timeout)

    socket.socket.__init__ = init_for_app  # type: ignore[method-assign]


def _own_random(module: Any) -> None:
    """Gives an app its own generator once the app seeds it. Until then, apps share the process's
    generator, which has a random seed."""
    shared = module._inst

    def for_app(name: str, method: Callable[..., Any]) -> Callable[..., Any]:
        begins = name in ("seed", "setstate")

        @functools.wraps(method)
        def function(*args: Any, **kwargs: Any) -> Any:
            own = settings.current()
            if own is None:
                return method(*args, **kwargs)
            generator = own.get("random")
            if generator is None:
                if not begins:
                    return method(*args, **kwargs)
                generator = own.setdefault("random", module.Random())
            return getattr(generator, name)(*args, **kwargs)

        return function

    for name, value in list(vars(module).items()):
        if type(value) is MethodType or getattr(value, "__self__", None) is shared:
            setattr(module, name, for_app(name, value))


def install() -> None:
    """Makes the defaults per-app."""
    _own_policies()
    _own_timeouts()
    imports.when_loaded("multiprocessing.context", _own_start_methods)
    imports.when_loaded("random", _own_random)
