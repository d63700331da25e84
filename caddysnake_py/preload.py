"""Which modules a zygote may import before it forks workers, and the import."""

from __future__ import annotations

import contextlib
import dataclasses
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


def _folders() -> set[str]:
    """Returns the folders of installed packages."""
    return {
        *site.getsitepackages(),
        sysconfig.get_path("purelib"),
        sysconfig.get_path("platlib"),
    }


def folders() -> dict[str, int]:
    """Returns the folders of installed packages, and when they were modified, in nanoseconds: pip
    makes or removes something in one of them with each package."""
    found = {}
    for folder in _folders():
        with contextlib.suppress(OSError):
            found[folder] = os.stat(folder).st_mtime_ns
    return found


def installed() -> list[str]:
    """Returns the names of the imported modules that are installed packages', in the order of their
    import: what another worker of this environment may need, too."""
    roots = tuple(os.path.join(folder, "") for folder in _folders())
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


@dataclasses.dataclass(slots=True)
class Loaded:
    """The result of `load`.

    Attributes:
        culprit: a module that has started a thread, upon which the import ended.
        missing: modules that could not be imported; they are left to the applications.
    """

    culprit: str | None = None
    missing: list[str] = dataclasses.field(default_factory=list)


def load(names: Iterable[str]) -> Loaded:
    """Imports modules."""
    loaded = Loaded()
    for name in names:
        try:
            importlib.import_module(name)
        except BaseException:  # whatever a package may raise
            loaded.missing.append(name)
        if threads() > 1:
            loaded.culprit = name
            return loaded
    gc.collect()
    gc.freeze()  # a collection in a worker would touch, hence copy, the pages of all these objects
    return loaded
