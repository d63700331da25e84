"""Reads what `apps/bare/wsgi_request.py` shows of its environ."""

from __future__ import annotations

import json
from typing import Any

from harness.http1 import Response


def shown(response: Response) -> dict[str, Any]:
    """Everything that the app shows; see there."""
    assert (response.status, response.broken) == (200, None)
    found: dict[str, Any] = json.loads(response.body)
    return found


def environ(response: Response) -> dict[str, str]:
    """The entries that are text."""
    found: dict[str, str] = shown(response)["environ"]
    return found
