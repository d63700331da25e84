"""What an application in a worker finds around it: directory, variables, paths, ``__main__``."""

from __future__ import annotations

import os
import sys
import time
from importlib.machinery import PathFinder

from caddysnake_py import main_module, venvs
from caddysnake_py.load_request import LoadRequest


def _names_in(directory: str, names: frozenset[str]) -> frozenset[str]:
    """Returns those of the names that a module in a directory may have."""
    try:
        entries = os.listdir(directory)
    except OSError:  # such as an archive
        return names
    return names.intersection([entry.partition(".")[0] for entry in entries])


def _forget_shadowed(preloaded: frozenset[str], directories: list[str]) -> None:
    """Drops packages that a zygote has preloaded if the application has a module of that name."""
    for name in frozenset[str]().union(*(_names_in(each, preloaded) for each in directories)):
        if PathFinder.find_spec(name, directories) is not None:
            for module in [each for each in sys.modules if each.partition(".")[0] == name]:
                del sys.modules[module]


def set_up(request: LoadRequest, preloaded: frozenset[str]) -> None:
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
    directories = request.directories
    sys.path[:0] = directories
    _forget_shadowed(preloaded, directories)
    main = main_module.make(request.working_dir)
    sys.modules["__main__"] = main
    sys.argv = [main.__dict__["__file__"]]
