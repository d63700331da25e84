"""Makes importlib ask the view: who loads a module, and which lock guards that.

Replaces functions of importlib's by name: see `cpython.py`.
"""

from __future__ import annotations

import functools
import importlib
import importlib.util
import os
import sys
from collections.abc import Callable
from importlib.machinery import ModuleSpec
from types import CodeType, ModuleType
from typing import Any

import _caddysnake

from caddysnake_py import cpython, patches
from caddysnake_py.layers import AppView, Layer
from caddysnake_py.view import as_importlib, top, use

_hooks: dict[str, list[Callable[[ModuleType], None]]] = {}
_package_hooks: dict[str, Callable[[ModuleType], None]] = {}


def when_loaded(name: str, hook: Callable[[ModuleType], None]) -> None:
    """Calls ``hook`` with a module of the standard library once it is there."""
    if name in sys.modules:
        hook(sys.modules[name])
    else:
        _hooks.setdefault(name, []).append(hook)


def when_package_loaded(name: str, hook: Callable[[ModuleType], None]) -> None:
    """Calls ``hook`` with each module of that name, of whatever layer or app it is."""
    _package_hooks[name] = hook


def load_unlocked(spec: ModuleSpec) -> ModuleType:
    """Loads a module for the view that owns it."""
    current = _caddysnake.current_view()
    if isinstance(current, (AppView, Layer)):
        module = current.load(spec, cpython.load_unlocked)
    else:
        module = cpython.load_unlocked(spec)
    if spec.name in _hooks and _caddysnake.owner(spec.name) is None:
        for hook in _hooks.pop(spec.name):
            hook(module)
    if spec.name in _package_hooks and _caddysnake.owner(spec.name) is current:
        _package_hooks[spec.name](module)
    if isinstance(current, AppView):
        patches.check_soon(current)
    return module


def exec_again(spec: ModuleSpec, module: ModuleType) -> ModuleType:
    """``importlib.reload``: a module stays with its owner, though an app may ask for it."""
    with use(_caddysnake.owner(spec.name)):
        again: ModuleType = cpython.exec_again(spec, module)
        return again


def get_module_lock(name: str) -> Any:
    """The lock under which a module is imported: one for each view that has a module of the name.

    One that a layer is still initializing has the layer's lock, for whoever waits for it.
    """
    owner = _caddysnake.owner(name)
    return cpython.get_module_lock(name if owner is None else (id(owner), name))


def find_and_load(name: str, import_: Callable[..., Any], **kwargs: Any) -> ModuleType:
    """Waits for a module that another view is still loading.

    Whoever begins to import it before it is visible waits for its own view's lock, under which the
    module may then be there. Since 3.15 importlib takes it as it is.
    """
    module: ModuleType = cpython.find_and_load(name, import_, **kwargs)
    if getattr(getattr(module, "__spec__", None), "_initializing", False):
        cpython.lock_unlock_module(name)
    return module


class _Reloading(dict[Any, ModuleType]):
    """What `importlib.reload` is about to do, in which it looks a module up by its name."""

    @staticmethod
    def _key(name: str) -> tuple[int, str]:
        return id(_caddysnake.owner(name)), name

    def __contains__(self, name: Any) -> bool:
        return super().__contains__(self._key(name))

    def __getitem__(self, name: str) -> ModuleType:
        return super().__getitem__(self._key(name))

    def __setitem__(self, name: str, module: ModuleType) -> None:
        super().__setitem__(self._key(name), module)

    def __delitem__(self, name: str) -> None:
        super().__delitem__(self._key(name))


_CERTAIN = 2.0  # seconds; what some file systems round to
_codes: dict[str, tuple[int, int, CodeType]] = {}


def _drop_stale_bytecode(path: str) -> None:
    """Removes the bytecode of a file that may have changed since it was made.

    Python compares seconds and sizes. A file that is edited, loaded and edited again within a
    second would be taken for the one before.
    """
    try:
        bytecode = importlib.util.cache_from_source(path)
        if os.stat(bytecode).st_mtime - os.stat(path).st_mtime < _CERTAIN:
            os.unlink(bytecode)
    except (OSError, NotImplementedError):
        pass  # there is none, or it can't be removed nor written


def _original_code(loader: Any, fullname: str) -> CodeType:
    code: CodeType = cpython.get_code(loader, fullname)
    return code


def get_code(loader: Any, fullname: str) -> CodeType:
    """Code of installed private packages is loaded once for all apps: code objects never change."""
    current = _caddysnake.current_view()
    if not isinstance(current, AppView):
        return _original_code(loader, fullname)
    path = loader.get_filename(fullname)
    if current.is_below(path):
        _drop_stale_bytecode(path)
        return _original_code(loader, fullname)
    if top(fullname) not in current.private:
        return _original_code(loader, fullname)
    status = os.stat(path)
    known = _codes.get(path)
    if known is not None and known[:2] == (status.st_mtime_ns, status.st_size):
        return known[2]
    code = _original_code(loader, fullname)
    _codes[path] = (status.st_mtime_ns, status.st_size, code)
    return code


def watch_patches() -> None:
    """Has the standard library compared with what it is now, or will be once it is imported."""
    for name in patches.MODULES:
        when_loaded(name, patches.watch_module)
    for name, classes in patches.CLASSES.items():
        when_loaded(name, functools.partial(patches.watch_classes, names=classes))


def install() -> None:
    """From now on importlib asks the view."""
    for replacement in (load_unlocked, exec_again, get_module_lock, find_and_load, get_code):
        as_importlib(replacement)
    as_importlib(_drop_stale_bytecode)
    cpython.replace_reloading(_Reloading())
    cpython.replace_importlib(
        load_unlocked=load_unlocked,
        exec=exec_again,
        get_module_lock=get_module_lock,
        find_and_load=find_and_load,
    )
    cpython.replace_get_code(get_code)
