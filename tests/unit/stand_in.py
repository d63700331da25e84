"""A stand-in for the C core, with which the bridge package can be imported."""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from types import ModuleType


@dataclass(frozen=True)
class Record:
    """One call of ``_caddysnake.log``."""

    level: int
    app: int
    source: str
    message: str


@dataclass
class Core:
    """What the stand-in has seen, and which app the thread belongs to."""

    records: list[Record] = field(default_factory=list)
    app: int = 0


class View:
    """As much of `_caddysnake.View` as its subclasses need to be defined."""


core = Core()


def _log(level: int, app: int, source: str, message: bytes) -> None:
    core.records.append(Record(level, app, source, message.decode()))


_module = ModuleType("_caddysnake")
_module.__dict__.update(
    log=_log,
    current_app=lambda: core.app,
    current_view=lambda: None,
    View=View,
)
sys.modules.setdefault("_caddysnake", _module)
