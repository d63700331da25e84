"""The stacks of a worker that gives no sign of life."""

from __future__ import annotations

import faulthandler
import os

# stacksSignal of worker_pulse.go: a real-time signal, which neither Python nor its packages use.
_SIGNAL = 63


def set_up() -> None:
    """Has the signal write the stacks of all threads to the log. It needs no lock of Python, so it
    works while C code holds the GIL."""
    own = os.dup(2)  # the application may close its standard error
    faulthandler.register(_SIGNAL, file=own, all_threads=True)
