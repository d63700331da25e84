"""Settings of the interpreter, which all apps share."""

from __future__ import annotations

import sys
import sysconfig
from types import ModuleType

# Seconds. With the default of 5 ms, a busy app delays others by 5 ms per hand-over of the GIL.
_SWITCH_INTERVAL = 0.001

_hidden: list[ModuleType] = []


def set_up() -> None:
    """Configures the interpreter, once, before any app is loaded.

    Raises:
        RuntimeError: the interpreter is a free-threaded build, which the core does not support.
    """
    if sysconfig.get_config_var("Py_GIL_DISABLED"):
        raise RuntimeError("free-threaded builds of Python are not supported")
    sys.setswitchinterval(_SWITCH_INTERVAL)
    sys.path[:] = [entry for entry in sys.path if entry]


def hide_server() -> None:
    """Removes the core and this package from ``sys.modules``, so that applications cannot import
    them."""
    for name in list(sys.modules):
        if name.partition(".")[0] in ("_caddysnake", "caddysnake_py"):
            _hidden.append(sys.modules.pop(name))
