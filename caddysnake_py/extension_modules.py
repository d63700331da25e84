"""Extension modules: a process can load only one version of each, in all virtual environments."""

from __future__ import annotations

import dataclasses
import hashlib
import sys
from importlib.machinery import ModuleSpec
from types import ModuleType

from caddysnake_py.packages import Installed
from caddysnake_py.view import Load, use


@dataclasses.dataclass(frozen=True, slots=True)
class Loaded:
    """An extension module that a layer has loaded.

    Attributes:
        file: the path of the shared library.
        installed: the distributions of the layer.
    """

    file: str
    installed: Installed

    def describe(self) -> str:
        distribution = self.installed.distribution_of(self.file)
        version = f"{distribution.name} {distribution.version}, " if distribution else ""
        return f"{version}{self.file}"


_loaded: dict[str, Loaded] = {}  # by the module's name


def _digest(file: str) -> bytes:
    with open(file, "rb") as opened:
        return hashlib.sha256(opened.read()).digest()


def _is_same(one: Loaded, other: Loaded) -> bool:
    found = [each.installed.distribution_of(each.file) for each in (one, other)]
    if found[0] and found[1]:
        return (found[0].name, found[0].version) == (found[1].name, found[1].version)
    return _digest(one.file) == _digest(other.file)


def load(spec: ModuleSpec, load: Load) -> ModuleType:
    """Loads an extension module for the current view. Some modules, such as Cython's, add
    themselves to the dict of ``sys.modules``; they are removed there, as every app would see
    them."""
    module = load(spec)
    with use(None):
        if sys.modules.get(spec.name) is module:
            del sys.modules[spec.name]
    return module


def check(spec: ModuleSpec, installed: Installed) -> None:
    """Checks that no other version of an extension module is loaded: the symbols of the two C
    libraries would conflict.

    Raises:
        ImportError: another version is loaded; the message names both and suggests remedies.
    """
    assert spec.origin is not None
    wanted = Loaded(spec.origin, installed)
    first = _loaded.setdefault(spec.name, wanted)
    if first.file == wanted.file or _is_same(first, wanted):
        return
    raise ImportError(
        f"the extension module {spec.name} ({wanted.describe()}) can't be loaded, because another "
        f"application has loaded it in another version ({first.describe()}), and one process can "
        f"hold only one; install the same version into both virtual environments, or serve one "
        f"of the applications with a Caddy of its own",
        name=spec.name,
        path=spec.origin,
    )
