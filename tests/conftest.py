"""Makes the harness a plugin of this suite; everything it offers lives in `harness/`."""

import pytest

pytest.register_assert_rewrite("harness")

pytest_plugins = ["harness.plugin"]
