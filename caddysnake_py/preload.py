"""Which modules a zygote may import before it forks workers, and the import."""

from __future__ import annotations

import contextlib
import gc
import importlib
import os
import re
import site
import sys
import sysconfig
from collections.abc import Iterable

_MAX_MODULES = 2000
_MAX_NAMES = 48 << 10  # characters, all in all
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*(\.[A-Za-z_][A-Za-z0-9_]*)*")


def installed() -> list[str]:
    """Returns the names of the imported modules that are installed packages', in the order of their
    import: what another worker of this environment may need, too."""
    folders = {
        *site.getsitepackages(),
        sysconfig.get_path("purelib"),
        sysconfig.get_path("platlib"),
    }
    roots = tuple(os.path.join(folder, "") for folder in folders)
    names: list[str] = []
    size = 0
    for name, module in list(sys.modules.items()):
        spec = getattr(module, "__spec__", None)
        origin = getattr(spec, "origin", None)
        if type(origin) is not str or not origin.startswith(roots) or not _NAME.fullmatch(name):
            continue
        size += len(name) + 3
        if size > _MAX_NAMES or len(names) == _MAX_MODULES:
            break
        names.append(name)
    return names


def threads() -> int:
    """Returns the number of this process's threads, those that C code has started included."""
    return len(os.listdir("/proc/self/task"))


def load(names: Iterable[str]) -> str | None:
    """Imports modules. Those that cannot be imported now are left to the applications.

    Returns:
        The name of a module that has started a thread, upon which the import ends; else None.
    """
    for name in names:
        with contextlib.suppress(BaseException):
            importlib.import_module(name)
        if threads() > 1:
            return name
    gc.collect()
    gc.freeze()  # a collection in a worker would touch, hence copy, the pages of all these objects
    return None
