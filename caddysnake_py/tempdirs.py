"""Per-app directory of ``tempfile``, from the application's environment.

Python reads the environment once per process, so the first application would determine the
directory for all.
"""

from __future__ import annotations

from typing import Any

import _caddysnake

from caddysnake_py import imports
from caddysnake_py.layers import AppView
from caddysnake_py.view import use

_NAMES = frozenset({b"TMPDIR", b"TEMP", b"TMP"})


def _use_app_directory(module: Any) -> None:
    get_for_process = module._gettempdir
    of_process: list[str] = []

    def get_for_app() -> str:
        view = _caddysnake.current_view()
        if module.tempdir is not None and module.tempdir not in of_process:
            return str(module.tempdir)  # assigned by code
        if isinstance(view, AppView) and _NAMES & view.variables.keys():
            if view.tempdir is None:
                view.tempdir = module._get_default_tempdir()
            return view.tempdir
        with use(None):
            of_process[:] = [get_for_process()]
        return of_process[0]

    module._gettempdir = get_for_app


def install() -> None:
    """Makes the directory for temporary files per-app."""
    imports.when_loaded("tempfile", _use_app_directory)
