"""What an application in a worker finds around it: directory, variables, paths, ``__main__``."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Collection
from importlib.machinery import PathFinder

from caddysnake_py import main_module, venvs
from caddysnake_py.load_request import LoadRequest


def _forget_shadowed(preloaded: Collection[str], directories: list[str]) -> None:
    """Drops packages that a zygote has preloaded if the application has a module of that name."""
    for name in preloaded:
        if PathFinder.find_spec(name, directories) is not None:
            for module in [each for each in sys.modules if each.partition(".")[0] == name]:
                del sys.modules[module]


def set_up(request: LoadRequest, preloaded: Collection[str]) -> None:
    """Prepares this process for an application.

    Args:
        request: the configuration of the application.
        preloaded: the top-level names of packages that a zygote has imported.

    Raises:
        LoadError: the configuration is wrong.
    """
    venvs.check_directories(request.working_dir, request.python_path, request.id)
    variables = venvs.variables(request.env_files, request.env)
    if request.venv:
        venvs.read_venv(request.venv)  # Python has started in it
    os.environ.update(variables)
    if "TZ" in variables:
        time.tzset()
    os.chdir(request.working_dir)
    directories = [request.working_dir, *request.python_path]
    sys.path[:0] = directories
    _forget_shadowed(preloaded, directories)
    main = main_module.make(request.working_dir)
    sys.modules["__main__"] = main
    sys.argv = [main.__dict__["__file__"]]
