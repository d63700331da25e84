"""Modules of the standard library that depend on the location of the Python installation.

They read ``sys.prefix`` when they are imported, so each virtual environment has its own copy.
"""

from __future__ import annotations

import importlib.util
import site
import sys
from importlib.machinery import PathFinder
from types import FunctionType, ModuleType

from caddysnake_py.layers import Layer
from caddysnake_py.view import Base, use


def _own_sysconfig(layer: Layer) -> ModuleType:
    spec = PathFinder.find_spec("sysconfig", list(Base.path))
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    with use(layer):
        spec.loader.exec_module(module)
    return module


def _own_site(prefix: str, sees_host: bool) -> ModuleType:
    """Copies the module ``site``: importing it again would change the interpreter's paths."""
    module = ModuleType("site", site.__doc__)
    for name, value in vars(site).items():
        if type(value) is FunctionType and value.__globals__ is vars(site):
            own = FunctionType(value.__code__, vars(module), name, value.__defaults__)
            own.__kwdefaults__ = value.__kwdefaults__
            own.__doc__ = value.__doc__
            value = own
        vars(module)[name] = value
    own_prefixes = [prefix] if sys.version_info < (3, 14) else [prefix, prefix]
    vars(module)["PREFIXES"] = [*own_prefixes, *(site.PREFIXES if sees_host else ())]
    vars(module)["ENABLE_USER_SITE"] = sees_host
    return module


def give_own(layer: Layer) -> None:
    """Adds copies of ``site`` and ``sysconfig`` for its environment to the layer of a virtual
    environment."""
    layer.modules["site"] = _own_site(layer.prefix, layer.outer is not None)
    layer.modules["sysconfig"] = _own_sysconfig(layer)
