"""Unit tests import the bridge package with a stand-in for its C core."""

from __future__ import annotations

import pytest
import stand_in


@pytest.fixture
def core() -> stand_in.Core:
    """The stand-in, as new."""
    stand_in.core.records.clear()
    stand_in.core.app = 0
    return stand_in.core
