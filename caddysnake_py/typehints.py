"""Evaluates string annotations at each use, not once per process.

``typing`` caches ``List["Item"]`` for the process, together with the class that "Item" evaluated
to: that of the application that came first.
"""

from __future__ import annotations

import copy
import typing
from typing import Any

from caddysnake_py import cpython


def install() -> None:
    """Makes ``ForwardRef`` evaluate without reusing an earlier result."""
    evaluate = cpython.evaluate_reference
    if evaluate is None:  # since 3.14, which caches no results
        return

    def evaluate_again(self: Any, *args: Any, **kwargs: Any) -> Any:
        # On a copy: another thread may evaluate the same object.
        fresh = copy.copy(self)
        fresh.__forward_evaluated__ = False
        return evaluate(fresh, *args, **kwargs)

    typing.ForwardRef._evaluate = evaluate_again  # type: ignore[method-assign]
