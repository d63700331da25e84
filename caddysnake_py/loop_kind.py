"""The option ``loop``: which kind of event loop an ASGI app gets."""

from __future__ import annotations

from types import ModuleType
from typing import Literal

from caddysnake_py.loader import LoadError

LoopKind = Literal["auto", "asyncio", "uvloop"]


def find_uvloop(kind: LoopKind) -> ModuleType | None:
    """Returns uvloop if it is to be used: ``auto`` selects it if it can be imported.

    Raises:
        LoadError: ``kind`` is uvloop, and uvloop is not installed.
    """
    if kind == "asyncio":
        return None
    try:
        import uvloop  # type: ignore[import-not-found,unused-ignore]
    except ImportError as error:
        if kind == "uvloop":
            raise LoadError(f"loop uvloop: {error}; install it into the app's venv") from None
        return None
    found: ModuleType = uvloop
    return found
