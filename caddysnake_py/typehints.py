"""Type hints that are strings are evaluated anew each time.

``typing`` keeps ``List["Item"]`` in a cache, whoever has asked for it, and with it what "Item" was
found to be: the class of the application that came first.
"""

from __future__ import annotations

import copy
import sys
import typing
from typing import Any


def install() -> None:
    """From now on what one evaluation has found is not for the next."""
    if sys.version_info >= (3, 14):  # it keeps nothing
        return
    reference: Any = typing.ForwardRef
    evaluate = reference._evaluate

    def evaluate_anew(self: Any, *args: Any, **kwargs: Any) -> Any:
        # On a copy: another thread may evaluate the same one.
        fresh = copy.copy(self)
        fresh.__forward_evaluated__ = False
        return evaluate(fresh, *args, **kwargs)

    reference._evaluate = evaluate_anew
