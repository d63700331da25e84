"""Waiting for a condition instead of for time to pass."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

from harness.settings import PATIENCE

T = TypeVar("T")

POLL = 0.01


def wait_for(
    condition: Callable[[], T], what: str | Callable[[], str], deadline: float = 10.0
) -> T:
    """The first true value of `condition`; fails with `what` after `deadline` seconds.

    `what` may be a function, for what is known only at the end.
    """
    deadline *= PATIENCE
    end = time.monotonic() + deadline
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > end:
            awaited = what if isinstance(what, str) else what()
            raise AssertionError(f"gave up after {deadline:g} s waiting for {awaited}")
        time.sleep(POLL)
