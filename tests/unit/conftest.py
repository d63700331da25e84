"""Unit tests import the bridge package with a stand-in for its C core."""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from types import ModuleType

import pytest


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


_core = Core()


def _log(level: int, app: int, source: str, message: bytes) -> None:
    _core.records.append(Record(level, app, source, message.decode()))


_module = ModuleType("_caddysnake")
_module.__dict__.update(
    log=_log,
    current_app=lambda: _core.app,
    enter_app=lambda app: setattr(_core, "app", app),
)
sys.modules.setdefault("_caddysnake", _module)


@pytest.fixture
def core() -> Core:
    """The stand-in, as new."""
    _core.records.clear()
    _core.app = 0
    return _core
