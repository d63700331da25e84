"""Which modules a zygote may import before it forks workers, and the import."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import importlib.util
import itertools
import os
import re
import site
import sys
import sysconfig
from collections.abc import Iterable

_MAX_MODULES = 2000
_MAX_NAMES = 48 << 10  # characters, all in all
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*(\.[A-Za-z_][A-Za-z0-9_]*)*")


@functools.cache
def _folders() -> frozenset[str]:
    """Returns the folders of installed packages."""
    folders = {
        *site.getsitepackages(),
        sysconfig.get_path("purelib"),
        sysconfig.get_path("platlib"),
    }
    return frozenset(folders)


def _entries(folder: str) -> frozenset[tuple[str, int]]:
    """Returns the names and inodes of what pip puts into a folder; of one that is missing, none."""
    with contextlib.suppress(OSError), os.scandir(folder) as entries:
        # Python itself makes this one, when it first imports a module of the folder.
        return frozenset((e.name, e.inode()) for e in entries if e.name != "__pycache__")
    return frozenset()


class FolderTimes:
    """When the folders of installed packages were modified: pip makes or removes something in one
    of them with each package."""

    def __init__(self) -> None:
        self._entries = {folder: _entries(folder) for folder in _folders()}

    def now(self) -> dict[str, int]:
        """Returns the time of each folder in nanoseconds, and 0 if its packages have changed
        since this object was made."""
        times = {}
        for folder, before in self._entries.items():
            with contextlib.suppress(OSError):
                modified = os.stat(folder).st_mtime_ns
                times[folder] = modified if _entries(folder) == before else 0
        return times


@dataclasses.dataclass(slots=True, frozen=True)
class Preloaded:
    """What a worker has from its zygote, which works this out: a worker that looks at each module
    writes its reference count, and so copies its page.

    Attributes:
        packages: the top-level names of what the zygote has imported.
        last: the module that it has imported last.
    """

    packages: frozenset[str] = frozenset()
    last: str = ""


def _modules_after(last: str) -> list[str]:
    """Returns the names of the modules imported after this one, in the order of their import."""
    if last not in sys.modules:
        return list(sys.modules)
    names: list[str] = []
    with contextlib.suppress(RuntimeError):  # a thread imports meanwhile
        names.extend(itertools.takewhile(lambda name: name != last, reversed(sys.modules)))
    return names[::-1]


def installed(preloaded: Preloaded) -> list[str]:
    """Returns the names of the imported modules that are installed packages' and that no zygote has
    preloaded, in the order of their import: what another worker of this environment may need,
    too."""
    roots = tuple(os.path.join(folder, "") for folder in _folders())
    names: list[str] = []
    size = 0
    for name in _modules_after(preloaded.last):
        spec = getattr(sys.modules.get(name), "__spec__", None)
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


def _is_installed(name: str) -> bool:
    """Tells whether a module is the standard library's or an installed package's. One of an
    editable install is the application's own code."""
    top = name.partition(".")[0]
    if top in sys.stdlib_module_names:
        return True
    spec = importlib.util.find_spec(top)
    if spec is None:
        return False
    own = filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))
    roots = tuple(os.path.join(folder, "") for folder in (*_folders(), *own))
    places = spec.submodule_search_locations or [spec.origin or ""]
    return any(place.startswith(roots) for place in places)


def load(names: Iterable[str]) -> Loaded:
    """Imports modules."""
    loaded = Loaded()
    for name in names:
        try:
            is_installed = _is_installed(name)
            if is_installed:
                importlib.import_module(name)
        except BaseException:  # whatever a package may raise
            is_installed = False
        if not is_installed:
            loaded.missing.append(name)
        if threads() > 1:
            loaded.culprit = name
            return loaded
    return loaded
