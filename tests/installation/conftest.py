"""What the tests of installations share: the built files, and roots to install them in."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from harness.roots import RELEASE, MakeRoot, Root, new_folder, obstacle


@pytest.fixture(scope="session")
def wheel() -> Path:
    """What `make wheel` has made."""
    return Path(os.environ["CADDYSNAKE_WHEEL"])


@pytest.fixture(scope="session")
def sdist() -> Path:
    """What `make sdist` has made."""
    return Path(os.environ["CADDYSNAKE_SDIST"])


@pytest.fixture(scope="module")
def make_root() -> Iterator[MakeRoot]:
    """Makes roots that live as long as the module's tests: `make_root("python3", ...)`."""
    missing = obstacle()
    if missing:
        pytest.fail(missing, pytrace=False)
    with ExitStack() as stack:

        def make(*packages: str, release: str = RELEASE) -> Root:
            folder = stack.enter_context(new_folder())
            return stack.enter_context(Root(folder / release, *packages, release=release))

        yield make


@pytest.fixture(scope="session")
def ours(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The temporary folders of the tests, so that a command in a root sees them (`shared`)."""
    folder = tmp_path_factory.getbasetemp()
    return {str(folder): folder}
