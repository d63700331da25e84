"""Explains why code cannot be loaded a second time: shared packages survive a reload, and some
refuse to register a name that the old code has registered."""

from __future__ import annotations

import re
from collections.abc import Mapping
from types import FrameType

from caddysnake_py.belongings import namespace_of
from caddysnake_py.layers import AppView
from caddysnake_py.view import top

# "Duplicated timeseries in CollectorRegistry", "A colormap named "x" is already registered", …
_REFUSAL = re.compile(
    r"already|duplicat|exists|in use|registered|conflict|twice|again|more than one"
)


def _frames(error: BaseException) -> list[FrameType]:
    """Returns the frames of a traceback, the innermost first."""
    found = []
    traceback = error.__traceback__
    while traceback is not None:
        found.append(traceback.tb_frame)
        traceback = traceback.tb_next
    return found[::-1]


def _has(modules: Mapping[str, object], frame: FrameType) -> bool:
    module = modules.get(frame.f_globals.get("__name__", ""))
    return module is not None and namespace_of(module) is frame.f_globals


def _raised_by(error: BaseException, view: AppView) -> tuple[str, str | None] | None:
    """Returns the top-level name of the shared package that raised an error, and one of its
    files."""
    for frame in _frames(error):
        if any(_has(layer.modules, frame) for layer in view.layer.chain()):
            return top(frame.f_globals["__name__"]), frame.f_globals.get("__file__")
        if _has(view.modules, frame):
            break
    # C code has no frames.
    package = top(type(error).__module__)
    is_shared = any(package in layer.modules for layer in view.layer.chain())
    return (package, None) if is_shared else None


def explain(error: BaseException, view: AppView) -> str | None:
    """Returns one line about an error of a repeated load if a shared package may be the cause,
    else None."""
    if isinstance(error, (OSError, ImportError, SyntaxError)) or not isinstance(error, Exception):
        return None
    if not _REFUSAL.search(str(error).lower()):
        return None
    found = _raised_by(error, view)
    if found is None:
        return None
    package, file = found
    cure = f"`isolate {package}` gives each load of the application its own"
    if view.layer.has_extensions(package, file):
        cure = (
            "it has extension modules, so it can't be isolated: register only what is missing, or "
            "restart Caddy"
        )
    return f"{package} is shared and may still hold what the previous code registered; {cure}"
