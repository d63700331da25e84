"""The time zone: local time is C's, and one for the process.

It is that of the apps that ask for one, by ``TZ`` in their configuration or by ``time.tzset()``. An
app that asks for another is refused, since its local times would be wrong. Django asks always, but
does not depend on it with ``USE_TZ``.
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

_FRAMES = 6  # between time.tzset() and ours

_tzset: Callable[[], None] = time.tzset
_needed: dict[int, tuple[AppView, str | None]] = {}  # by the app's id
_lent: list[int] = []  # the id of an app that has its zone as long as it is alone


class ZoneError(RuntimeError):
    """Another app needs another time zone."""


def _others(app: AppView) -> list[AppView]:
    """The other apps, without what is about to be replaced by this one."""
    alive = [each for layer in every_layer() for each in layer.apps]
    return [each for each in alive if each is not app and each.directories != app.directories]


def _set(zone: str | None) -> None:
    with use(None):  # else it would be the app's own environment
        if zone is None:
            os.unsetenv("TZ")
        else:
            os.putenv("TZ", zone)
    _tzset()


def need(app: AppView) -> None:
    """Gives the process the time zone of an app.

    Raises:
        ZoneError: another app needs another one.
    """
    zone = os.environ.get("TZ")
    for other, others_zone in list(_needed.values()):
        if other is not app and other.directories != app.directories and others_zone != zone:
            raise ZoneError(
                f"the time zone {zone or 'of the system'} is not possible, because another "
                f"application of this process needs {others_zone or 'that of the system'}, and "
                f"local time is one for the process: set the same TZ (in Django TIME_ZONE, or "
                f"USE_TZ = True) for both, or give one of them a process of its own"
            )
    _needed[app.app] = app, zone
    before = time.tzname
    _set(zone)
    if time.tzname != before and _others(app):
        text = f"the local time of all applications is now that of {zone or 'the system'}"
        logs.emit(logging.WARNING, "caddysnake", text, app.app)


def begin(app: AppView) -> None:
    """Prepares the load of an app.

    Raises:
        ZoneError: its configuration has a time zone, and another app needs another one.
    """
    if _lent and _others(app):
        _lent.clear()
        with use(None):
            zone = os.environ.get("TZ")
        _set(zone)
    if b"TZ" in app.variables:
        need(app)


def forget(app: AppView) -> None:
    """An app that has gone needs nothing."""
    _needed.pop(app.app, None)


def _has_aware_times() -> bool:
    """Whether it is Django that asks, for an app that does not depend on local time."""
    frame = sys._getframe(1)
    for _ in range(_FRAMES):
        try:  # past what Django's lazy settings do to find an attribute
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
        need(app)
    elif not _needed and not _others(app):
        _lent.append(app.app)
        _set(os.environ.get("TZ"))


def install() -> None:
    """From now on ``time.tzset`` takes the ``TZ`` of the app."""
    settings.function_for_apps(time, "tzset", _tzset_in_app)
