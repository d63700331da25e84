"""``__main__`` of an app.

Scripts that the app runs, and pickles, put things there that are not for other apps.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from importlib.machinery import ModuleSpec
from types import ModuleType


def find(module: str, directories: Sequence[str]) -> str:
    """Where the module is that the configuration names."""
    for directory in directories:
        path = os.path.join(directory, *module.split("."))
        for file in (os.path.join(path, "__init__.py"), path + ".py"):
            if os.path.isfile(file):
                return file
    return os.path.join(directories[0], "__main__.py")


def make(file: str) -> ModuleType:
    """Returns a ``__main__`` with that file.

    Packages tell a program from an interactive session by the file, and find its directory. The
    name in the spec is that of a directory that is run, which children of multiprocessing do not
    run again.
    """
    main = ModuleType("__main__")
    main.__spec__ = ModuleSpec("__main__", None, origin=file)
    main.__package__ = ""
    main.__file__ = file
    return main
