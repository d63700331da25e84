"""Becomes a command that runs beside an application, in the environment of the application."""

from __future__ import annotations

import dataclasses
import os
import shutil
import signal
import sys
from typing import Any

from caddysnake_py import loader, venvs
from caddysnake_py.control import Control
from caddysnake_py.load_request import LoadRequest
from caddysnake_py.loader import LoadError

# Python ignores these, and a program inherits that.
_IGNORED = (signal.SIGPIPE, signal.SIGXFSZ)


@dataclasses.dataclass(slots=True, frozen=True)
class Order:
    """What Caddy wants this process to become.

    Attributes:
        command: the program and its arguments.
        load: the fields of the application's `LoadRequest`.
    """

    command: list[str]
    load: dict[str, Any]


def _set_up(request: LoadRequest) -> None:
    """Sets the directory and variables, as an activated virtual environment has them.

    Raises:
        LoadError: the configuration of the application is wrong.
    """
    venvs.check_directories(request.working_dir, request.python_path, request.id)
    if request.venv:
        venvs.read_venv(request.venv)
        os.environ["VIRTUAL_ENV"] = request.venv
    os.environ.update(venvs.variables(request.env_files, request.env))
    paths = [*request.directories, os.environ.get("PYTHONPATH")]
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, paths))
    programs = [os.path.dirname(sys.executable), os.environ.get("PATH", os.defpath)]
    os.environ["PATH"] = os.pathsep.join(filter(None, programs))
    os.chdir(request.working_dir)


def run(control: Control, order: Order) -> int:
    """Replaces this process by the command: Caddy sees the control socket close.

    Returns:
        The exit code, if that is not possible. Caddy gets the reason.
    """
    try:
        _set_up(LoadRequest(**order.load))
        name = order.command[0]
        program = shutil.which(name)
        if program is None:
            raise LoadError(f"there is no program {name} in {os.environ['PATH']}")
        for number in _IGNORED:
            signal.signal(number, signal.SIG_DFL)
        os.execv(program, order.command)
    except (LoadError, OSError, ValueError) as error:
        control.send_text("failed", "error", loader.error_text(error))
    return os.EX_CONFIG
