"""Type hints that are strings are evaluated anew each time.

``typing`` keeps ``List["Item"]`` in a cache, whoever has asked for it, and with it what "Item" was
found to be: the class of the application that came first.
"""

from __future__ import annotations

import copy
import typing
from typing import Any

from caddysnake_py import cpython


def install() -> None:
    """From now on what one evaluation has found is not for the next."""
    evaluate = cpython.evaluate_reference
    if evaluate is None:  # it keeps nothing, since 3.14
        return

    def evaluate_anew(self: Any, *args: Any, **kwargs: Any) -> Any:
        # On a copy: another thread may evaluate the same one.
        fresh = copy.copy(self)
        fresh.__forward_evaluated__ = False
        return evaluate(fresh, *args, **kwargs)

    typing.ForwardRef._evaluate = evaluate_anew  # type: ignore[method-assign]
