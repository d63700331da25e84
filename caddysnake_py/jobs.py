"""Jobs that an application has started on threads of their own."""

from __future__ import annotations

import threading
from collections.abc import Iterable


def end(threads: Iterable[threading.Thread]) -> None:
    """Ends the timers and the schedulers of APScheduler among these threads. Otherwise their jobs
    would go on after the application."""
    for thread in threads:
        scheduler = getattr(getattr(thread, "_target", None), "__self__", None)
        if isinstance(thread, threading.Timer):
            thread.cancel()
        elif type(scheduler).__module__.startswith("apscheduler.schedulers."):
            scheduler.shutdown(wait=False)  # type: ignore[union-attr]
