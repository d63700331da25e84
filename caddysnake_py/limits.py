"""How long an app may take to stop."""

from __future__ import annotations

import dataclasses


@dataclasses.dataclass(slots=True, frozen=True)
class Limits:
    """Durations in seconds.

    Attributes:
        drain: for running requests.
        tasks: then for calls that continue after their response.
    """

    drain: float
    tasks: float
