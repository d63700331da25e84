"""Settings of the one interpreter that all apps share."""

from __future__ import annotations

import logging
import signal
import sys
import sysconfig
import traceback
from typing import Any

# With the default of 5 ms a busy app delays every other by 5 ms per hand-over of the GIL.
_SWITCH_INTERVAL = 0.001

_log = logging.getLogger("caddysnake")


def _signal(signalnum: int, handler: Any) -> Any:
    """Stands in for ``signal.signal``: signals belong to Caddy, which stops on SIGTERM."""
    caller = "".join(traceback.format_stack(limit=3)[:-1])
    _log.warning(
        "signal.signal(%s, …) does nothing inside Caddy, which handles the signals\n%s",
        signal.strsignal(signalnum) or signalnum,
        caller.rstrip(),
    )
    return signal.getsignal(signalnum)


def set_up() -> None:
    """Prepares the interpreter, once, before any app is loaded.

    Raises:
        RuntimeError: the interpreter is a free-threaded build, which the core cannot run on.
    """
    if sysconfig.get_config_var("Py_GIL_DISABLED"):
        raise RuntimeError("free-threaded builds of Python are not supported")
    sys.setswitchinterval(_SWITCH_INTERVAL)
    sys.path[:] = [entry for entry in sys.path if entry]
    signal.signal = _signal
