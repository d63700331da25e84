"""``__main__`` of an app.

Scripts that the app runs, and pickles, put things there that are not for other apps.
"""

from __future__ import annotations

import os
from importlib.machinery import ModuleSpec
from types import ModuleType


def make(directory: str) -> ModuleType:
    """Returns what ``__main__`` is when Python runs a directory.

    Packages tell a program from an interactive session by its file, which need not exist, and look
    for settings beside that. Children of multiprocessing do not run a ``__main__`` of such a spec.
    """
    main = ModuleType("__main__")
    main.__file__ = os.path.join(directory, "__main__.py")
    main.__spec__ = ModuleSpec("__main__", None, origin=main.__file__)
    main.__package__ = ""
    return main
