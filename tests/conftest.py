"""Makes the harness a plugin of this suite; everything it offers lives in `harness/`."""

from __future__ import annotations

import sys

import pytest

pytest.register_assert_rewrite("harness")

pytest_plugins = ["harness.plugin"]

# What only newer Pythons can run, and why; said at the end of each run that leaves it out.
SINCE = {
    "test_interpreters.py": ((3, 14), "concurrent.interpreters"),
    "test_lazy_imports.py": ((3, 15), "lazy imports (PEP 810)"),
}

LEFT_OUT = {file: why for file, (since, why) in SINCE.items() if sys.version_info < since}


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    from harness.settings import EMULATED, HOME  # after its asserts are rewritten

    left_out = [
        item
        for item in items
        if item.path.name in LEFT_OUT
        or (HOME == "workers" and item.get_closest_marker("in_process") is not None)
        or (EMULATED and item.get_closest_marker("not_emulated") is not None)
    ]
    config.hook.pytest_deselected(items=left_out)
    items[:] = [item for item in items if item not in left_out]


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    version = "{}.{}".format(*sys.version_info)
    for file, why in LEFT_OUT.items():
        terminalreporter.write_line(f"{file} is left out: Python {version} has no {why}")
