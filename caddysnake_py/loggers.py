"""Per-app state of ``logging``: apps share the logger objects, but each app has its own handlers,
level and filters for every logger.

Changes by an app affect its own records only, and are discarded with the app. An app starts with a
copy of the state that Python and shared packages have set.

Replaces private names of ``logging``: ``_handlers``, ``_handlerList``, ``_logRecordFactory``, and
the attributes in which loggers keep their state.
"""

from __future__ import annotations

import logging
import weakref
from collections import ChainMap
from collections.abc import Callable, Iterator, MutableMapping, MutableSequence
from typing import Any

import _caddysnake

from caddysnake_py import log_handlers, settings
from caddysnake_py.layers import AppView

# The attributes of a logger, with factories of their default values.
_STATE: dict[str, Callable[[], Any]] = {
    "level": lambda: logging.NOTSET,
    "propagate": lambda: True,
    "disabled": lambda: False,
    "handlers": list,
    "filters": list,
    "_cache": dict,
}


def _begin(logger: logging.Logger) -> dict[str, Any]:
    """Returns a copy of the state that a logger has outside of apps."""
    outside = vars(logger)
    state = {name: outside.get(name, new()) for name, new in _STATE.items()}
    state.update(handlers=[*state["handlers"]], filters=[*state["filters"]], _cache={})
    state["logger"] = logger  # the state is stored under id(logger), so the logger must live
    return state


class _LoggerAttribute:
    """An attribute of loggers: kept in the current app's state; outside of apps in the logger."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __get__(self, logger: logging.Logger | None, owner: object = None) -> Any:
        if logger is None:
            return self
        view = _caddysnake.current_view()
        if isinstance(view, AppView):
            state = view.loggers.get(id(logger))
            if state is None:
                state = view.loggers.setdefault(id(logger), _begin(logger))
            return state[self._name]
        outside = vars(logger)
        if self._name not in outside:
            return outside.setdefault(self._name, _STATE[self._name]())
        return outside[self._name]

    def __set__(self, logger: logging.Logger, value: Any) -> None:
        view = _caddysnake.current_view()
        if isinstance(view, AppView):
            state = view.loggers.get(id(logger))
            if state is None:
                state = view.loggers.setdefault(id(logger), _begin(logger))
            state[self._name] = value
        else:
            vars(logger)[self._name] = value


class _ManagerAttribute:
    """A per-app attribute of ``logging.root.manager``."""

    def __init__(self, name: str) -> None:
        self._name = name

    def _settings(self, manager: object) -> dict[str, Any] | None:
        return settings.current() if manager is logging.root.manager else None

    def __get__(self, manager: object | None, owner: object = None) -> Any:
        if manager is None:
            return self
        own = self._settings(manager) or {}
        key = f"logging.{self._name}"
        return own[key] if key in own else vars(manager)[self._name]

    def __set__(self, manager: object, value: Any) -> None:
        own = self._settings(manager)
        if own is None:
            vars(manager)[self._name] = value
        else:
            own[f"logging.{self._name}"] = value


class _HandlerList(MutableSequence[Any]):
    """Per-app ``logging._handlerList``: weak references to all handlers, which
    ``logging.shutdown`` flushes."""

    def __init__(self, outside: list[Any]) -> None:
        self._outside = outside

    def _list(self) -> list[Any]:
        own = settings.current()
        if own is None:
            return self._outside
        found: list[Any] = own.setdefault("logging.handlers", [])
        return found

    def __getitem__(self, index: Any) -> Any:
        return self._list()[index]

    def __setitem__(self, index: Any, value: Any) -> None:
        self._list()[index] = value

    def __delitem__(self, index: Any) -> None:
        del self._list()[index]

    def __len__(self) -> int:
        return len(self._list())

    def insert(self, index: int, value: Any) -> None:
        self._list().insert(index, value)


class _HandlersByName(MutableMapping[str, Any]):
    """Per-app ``logging._handlers``: the handlers that have a name."""

    def __init__(self, outside: MutableMapping[str, Any]) -> None:
        self._outside = outside

    def _map(self) -> MutableMapping[str, Any]:
        own = settings.current()
        if own is None:
            return self._outside
        found: MutableMapping[str, Any]
        found = own.setdefault("logging.named_handlers", weakref.WeakValueDictionary())
        return found

    def __getitem__(self, name: str) -> Any:
        return self._map()[name]

    def __setitem__(self, name: str, handler: Any) -> None:
        self._map()[name] = handler

    def __delitem__(self, name: str) -> None:
        del self._map()[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._map())

    def __len__(self) -> int:
        return len(self._map())


_is_enabled_for = logging.Logger.isEnabledFor


def is_enabled_for(self: logging.Logger, level: int) -> bool:
    """Replaces ``Logger.isEnabledFor``: the common case avoids the descriptors."""
    view = _caddysnake.current_view()
    if isinstance(view, AppView):
        state = view.loggers.get(id(self))
        if state is not None and not state["disabled"]:
            known: bool | None = state["_cache"].get(level)
            if known is not None:
                return known
    return _is_enabled_for(self, level)


class _LastResort(log_handlers.LastResort):
    """Handles records of WARNING and above if the app has configured no handler."""

    def emit(self, record: logging.LogRecord) -> None:
        own = settings.get("logging.lastResort", self)
        if own is self:
            super().emit(record)
        elif own is not None and record.levelno >= own.level:
            own.handle(record)


def _set_logger_class(_: Any, cls: type[logging.Logger]) -> None:
    if not (isinstance(cls, type) and issubclass(cls, logging.Logger)):
        raise TypeError(f"logger not derived from logging.Logger: {cls!r}")
    own = settings.current()
    assert own is not None
    own["logging.loggerClass"] = cls
    # Other apps must not get loggers of this class, so new loggers are the app's only.
    own.setdefault("logging.loggerDict", ChainMap({}, logging.root.manager.loggerDict))


def _logger_class(_: Any) -> type[logging.Logger]:
    cls: type[logging.Logger] = settings.get("logging.loggerClass", logging.Logger)
    return cls


def _set_record_factory(_: Any, factory: Callable[..., logging.LogRecord]) -> None:
    own = settings.current()
    assert own is not None
    own["logging.recordFactory"] = factory


def _record_factory(_: Any) -> Callable[..., logging.LogRecord]:
    factory: Callable[..., logging.LogRecord]
    factory = settings.get("logging.recordFactory", logging.LogRecord)
    return factory


def _make_record(*args: Any, **kwargs: Any) -> logging.LogRecord:
    """Replaces ``logging._logRecordFactory``: calls the current app's factory."""
    return _record_factory(None)(*args, **kwargs)


def _capture_warnings(_: Any, capture: bool) -> None:
    own = settings.current()
    assert own is not None
    if capture:
        own["warnings.showwarning"] = logging._showwarning  # type: ignore[attr-defined]
    else:
        own.pop("warnings.showwarning", None)


def shut_down(app: AppView) -> None:
    """Flushes and closes the handlers of an app, as Python does at shutdown."""
    logging.shutdown(app.settings.pop("logging.handlers", []))


def install() -> None:
    """Makes the state of ``logging`` per-app."""
    module: Any = logging
    for name in _STATE:
        setattr(logging.Logger, name, _LoggerAttribute(name))
    for name in ("_disable", "loggerClass", "logRecordFactory", "loggerDict"):
        setattr(logging.Manager, name, _ManagerAttribute(name))
    module._handlerList = _HandlerList(module._handlerList)
    module._handlers = _HandlersByName(module._handlers)
    module._logRecordFactory = _make_record
    last_resort = _LastResort()
    log_handlers.install(last_resort)
    settings.own_attribute(logging, "lastResort", lambda: last_resort)
    module.Logger.isEnabledFor = is_enabled_for
    for name, replacement in (
        ("setLoggerClass", _set_logger_class),
        ("getLoggerClass", _logger_class),
        ("setLogRecordFactory", _set_record_factory),
        ("getLogRecordFactory", _record_factory),
        ("captureWarnings", _capture_warnings),
    ):
        settings.function_for_apps(logging, name, replacement)
