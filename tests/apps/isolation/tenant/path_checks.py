"""Search paths and finders: what a tenant does to its own concerns nobody else."""

from __future__ import annotations

import importlib.util
import os
import sys

import identity

HERE = os.path.dirname(__file__)


def edited_path() -> str:
    before = list(sys.path)
    sys.path.append(os.path.join(HERE, "extra"))
    try:
        import on_edited_path

        return on_edited_path.NAME
    finally:
        sys.path[:] = before


def path_read_often() -> str:
    """The interpreter has shortcuts for a line that has run a few times."""
    for _ in range(100):
        path, prefix = sys.path, sys.prefix
    assert path is vars(sys.__class__)["path"].fget(sys)
    assert HERE in path and prefix == vars(sys.__class__)["prefix"].fget(sys)
    return identity.NAME


def rebound_path() -> str:
    before = sys.path
    sys.path = [os.path.join(HERE, "extra"), *before]
    try:
        import on_rebound_path

        return on_rebound_path.NAME
    finally:
        sys.path = before


def preferred_directory() -> str:
    """A directory put first wins over what others have imported under that name."""
    before = list(sys.path)
    sys.path.insert(0, os.path.join(HERE, "extra"))
    try:
        import shared_or_own

        return shared_or_own.NAME
    finally:
        sys.path[:] = before


def replaced_directory() -> str:
    """As many directories as before."""
    sys.path.insert(0, os.path.join(HERE, "absent"))
    import shared_too

    installed = shared_too
    try:
        sys.path[0] = os.path.join(HERE, "other")
        import shared_too

        assert shared_too is not installed
        return shared_too.NAME
    finally:
        del sys.path[0]
        sys.modules.pop("shared_too", None)


def first_on_path() -> str:
    assert sys.path[0] == HERE
    assert not any("other" in entry for entry in sys.path)
    return identity.NAME


def zip_file() -> str:
    sys.path.append(os.path.join(HERE, "archive.zip"))
    import zipped

    sys.path.remove(os.path.join(HERE, "archive.zip"))
    return zipped.NAME


def finder() -> str:
    class Finder:
        def find_spec(self, name, path, target=None):
            if name != "invented":
                return None
            return importlib.util.spec_from_loader(name, self)

        def create_module(self, spec):
            return None

        def exec_module(self, module):
            module.NAME = identity.NAME

    sys.meta_path.append(Finder())
    try:
        import invented

        return invented.NAME
    finally:
        sys.meta_path.pop()


def finder_is_gone() -> bool:
    return any(type(entry).__name__ == "Finder" for entry in sys.meta_path)
