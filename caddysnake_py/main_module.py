"""The ``__main__`` module of an app.

Each app has its own: scripts that an app runs, and pickles, store objects there.
"""

from __future__ import annotations

import os
from importlib.machinery import ModuleSpec
from types import ModuleType


def make(directory: str) -> ModuleType:
    """Returns a ``__main__`` like that of ``python directory``.

    Packages take a ``__main__`` without ``__file__`` for an interactive session, and search for
    settings next to that file, which need not exist. With this ``__spec__``, children of
    multiprocessing do not run ``__main__`` again.

    Args:
        directory: the app's ``working_dir``.
    """
    main = ModuleType("__main__")
    main.__file__ = os.path.join(directory, "__main__.py")
    main.__spec__ = ModuleSpec("__main__", None, origin=main.__file__)
    main.__package__ = ""
    return main
