"""The time zone: the C library has one local time per process.

Apps request a time zone by ``TZ`` in their configuration or by ``time.tzset()``. An app that
requests another zone than an earlier app is refused, since its local times would be wrong. Django
always calls ``time.tzset()``, but with ``USE_TZ`` it does not depend on local time.
"""

from __future__ import annotations

import logging
import os
import sys
import time
from collections.abc import Callable
from typing import Any

import _caddysnake

from caddysnake_py import logs, settings
from caddysnake_py.layers import AppView, every_layer
from caddysnake_py.view import use

_FRAMES = 6  # limit of frames to inspect

_tzset: Callable[[], None] = time.tzset
_requested: dict[int, tuple[AppView, str | None]] = {}  # by the app's id
_provisional: list[int] = []  # the id of an app whose zone is in effect until another app is loaded


class ZoneError(RuntimeError):
    """Another app needs another time zone."""


def _others(app: AppView) -> list[AppView]:
    """Returns all other apps, except older generations that this app replaces."""
    alive = [each for layer in every_layer() for each in layer.apps]
    return [each for each in alive if each is not app and each.directories != app.directories]


def _set(zone: str | None) -> None:
    with use(None):  # putenv() of an app does not change the process's environment
        if zone is None:
            os.unsetenv("TZ")
        else:
            os.putenv("TZ", zone)
    _tzset()


def request(app: AppView) -> None:
    """Sets the process's time zone to that of an app.

    Raises:
        ZoneError: another app needs another time zone.
    """
    zone = os.environ.get("TZ")
    for other, others_zone in list(_requested.values()):
        if other is not app and other.directories != app.directories and others_zone != zone:
            raise ZoneError(
                f"the time zone {zone or 'of the system'} is not possible, because another "
                f"application of this process needs {others_zone or 'that of the system'}, and "
                f"local time is one for the process: set the same TZ (in Django TIME_ZONE, or "
                f"USE_TZ = True) for both, or give one of them a process of its own"
            )
    _requested[app.app] = app, zone
    before = time.tzname
    _set(zone)
    if time.tzname != before and _others(app):
        text = f"the local time of all applications is now that of {zone or 'the system'}"
        logs.emit(logging.WARNING, "caddysnake", text, app.app)


def begin(app: AppView) -> None:
    """Sets the time zone for an app that is about to be loaded.

    Raises:
        ZoneError: the app's configuration has a ``TZ``, and another app needs another time zone.
    """
    if _provisional and _others(app):
        _provisional.clear()
        with use(None):
            zone = os.environ.get("TZ")
        _set(zone)
    if b"TZ" in app.variables:
        request(app)


def forget(app: AppView) -> None:
    """Drops the time zone request of an app that has been unloaded."""
    _requested.pop(app.app, None)


def _has_aware_times() -> bool:
    """Returns whether Django calls ``time.tzset()`` for an app with ``USE_TZ``, which does not
    depend on local time."""
    frame = sys._getframe(1)
    for _ in range(_FRAMES):
        try:  # object.__getattribute__ does not evaluate Django's lazy settings
            own = object.__getattribute__(frame.f_locals.get("self"), "__dict__")
        except AttributeError:
            own = {}
        if own.get("USE_TZ") is True:
            return True
        if frame.f_back is None:
            break
        frame = frame.f_back
    return False


def _tzset_in_app(_: Any) -> None:
    app = _caddysnake.current_view()
    assert isinstance(app, AppView)
    if not _has_aware_times():
        request(app)
    elif not _requested and not _others(app):
        _provisional.append(app.app)
        _set(os.environ.get("TZ"))


def install() -> None:
    """Makes ``time.tzset`` use the ``TZ`` of the current app."""
    settings.function_for_apps(time, "tzset", _tzset_in_app)
