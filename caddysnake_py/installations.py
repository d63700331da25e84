"""The Python installations that apps can use: virtual environments, and the host's Python."""

from __future__ import annotations

import os
import sys
import sysconfig
import threading
from collections.abc import Iterable

from caddysnake_py import standard, venvs
from caddysnake_py.layers import Layer
from caddysnake_py.view import Base, top


class _HostLayer:
    """The packages of the Python that Caddy was built with."""

    layer: Layer


class _Making:
    """A layer that one thread creates while others wait for it. Not a lock for all layers: the code
    in slow ``.pth`` files of one environment must not delay the others."""

    def __init__(self) -> None:
        self.done = threading.Event()
        self.layer: Layer | None = None


_venvs: dict[str, _Making] = {}


def layer_for(venv: str | None) -> Layer:
    """Returns the layer of a virtual environment, or of the host's Python if ``venv`` is None. The
    layer is created once.

    Raises:
        LoadError: ``venv`` is not a virtual environment, or belongs to another Python version.
    """
    if venv is None:
        return _HostLayer.layer
    key = os.path.realpath(venv)
    mine = _Making()
    while True:
        making = _venvs.setdefault(key, mine)
        if making is mine:
            return _make(key, venv, mine)
        making.done.wait()
        if making.layer is not None:
            return making.layer


def _make(key: str, venv: str, making: _Making) -> Layer:
    try:
        found = venvs.read_venv(venv)
        outer = _HostLayer.layer if found.sees_host else None
        layer = Layer(found.site_packages, outer, venv)
        standard.give_own(layer)
        layer.add_site_dirs()
        layer.find_private()
        making.layer = layer
        return layer
    finally:
        if making.layer is None:
            del _venvs[key]
        making.done.set()


def _is_below(path: str, directories: Iterable[str]) -> bool:
    return path.startswith(tuple(os.path.join(directory, "") for directory in directories))


def _python_path() -> tuple[str, ...]:
    """Returns the entries of ``sys.path`` from ``PYTHONPATH``; Python has made them absolute."""
    variable = os.environ.get("PYTHONPATH")
    named = [os.path.abspath(entry) for entry in variable.split(os.pathsep)] if variable else []
    return tuple(entry for entry in sys.path if entry in named)


def set_up() -> None:
    """Splits the interpreter's initial paths, finders and modules into the base and the host's
    layer."""
    stdlib = [os.path.realpath(sysconfig.get_path(name)) for name in ("stdlib", "platstdlib")]
    stdlib += [sysconfig.get_path(name) for name in ("stdlib", "platstdlib")]

    archive = f"python{sys.version_info.major}{sys.version_info.minor}.zip"
    Base.python_path = _python_path()

    def is_stdlib(entry: str) -> bool:
        if entry in Base.python_path:
            return False
        if os.path.basename(entry) == archive or entry in stdlib:
            return True
        return _is_below(entry, stdlib) and "-packages" not in entry

    Base.path = tuple(entry for entry in sys.path if is_stdlib(entry))
    host = [entry for entry in sys.path if entry not in Base.path]
    Base.meta_path = tuple(
        finder
        for finder in sys.meta_path
        if getattr(finder, "__module__", "").partition(".")[0]
        in ("_frozen_importlib", "_frozen_importlib_external", "__main__", "builtins")
    )
    finders = [finder for finder in sys.meta_path if finder not in Base.meta_path]
    sys.path[:] = Base.path
    sys.meta_path[:] = Base.meta_path
    layer = Layer([entry for entry in host if "-packages" in entry], None, sys.prefix)
    layer.executable = sys.executable
    layer.path += [entry for entry in host if entry not in Base.python_path]
    layer.meta_path += finders
    layer.find_private()
    # Modules that .pth files and sitecustomize imported at startup belong to the host's layer.
    for name, module in list(sys.modules.items()):
        spec = getattr(module, "__spec__", None)
        is_hosts = spec is not None and spec.origin and _is_below(spec.origin, host)
        if is_hosts and name not in ("__main__", "_caddy"):
            layer.modules[name] = sys.modules.pop(name)
    Base.names = frozenset(top(name) for name in sys.modules)
    layer.claim_python_path()
    _HostLayer.layer = layer
