"""Connects importlib to views: the view decides which view loads a module, and under which lock.

Replaces private functions of importlib; see `cpython.py`.
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
    """Calls ``hook`` with a module of the standard library once the module is imported."""
    if name in sys.modules:
        hook(sys.modules[name])
    else:
        _hooks.setdefault(name, []).append(hook)


def when_package_loaded(name: str, hook: Callable[[ModuleType], None]) -> None:
    """Calls ``hook`` with each module of that name, in every layer and app."""
    _package_hooks[name] = hook


def load_unlocked(spec: ModuleSpec) -> ModuleType:
    """Replaces ``importlib._bootstrap._load_unlocked``: loads a module in the view that owns it."""
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
    """Replaces ``importlib._bootstrap._exec``, which ``importlib.reload`` calls: the module keeps
    its owner, even if another view reloads it."""
    with use(_caddysnake.owner(spec.name)):
        again: ModuleType = cpython.exec_again(spec, module)
        return again


def get_module_lock(name: str) -> Any:
    """Replaces ``importlib._bootstrap._get_module_lock``: one lock per module name and owner.

    While a layer initializes a module, every thread that waits for the module uses the layer's
    lock.
    """
    owner = _caddysnake.owner(name)
    return cpython.get_module_lock(name if owner is None else (id(owner), name))


def find_and_load(name: str, import_: Callable[..., Any], **kwargs: Any) -> ModuleType:
    """Replaces ``importlib._bootstrap._find_and_load``: waits for a module that another view is
    still loading.

    An import that began before the module was visible holds the lock of its own view, not that of
    the loading view. Since 3.15 importlib returns the module then, although it is half-initialized.
    """
    module: ModuleType = cpython.find_and_load(name, import_, **kwargs)
    if getattr(getattr(module, "__spec__", None), "_initializing", False):
        cpython.lock_unlock_module(name)
    return module


class _Reloading(dict[Any, ModuleType]):
    """Replaces ``importlib._RELOADING``, the modules being reloaded: the keys include the owner, as
    views may have different modules of the same name."""

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


_MTIME_RESOLUTION = 2.0  # seconds: the coarsest timestamp resolution of common file systems
_codes: dict[str, tuple[int, int, CodeType]] = {}


def _drop_stale_bytecode(path: str) -> None:
    """Removes bytecode that may be older than its source file.

    A .pyc file records the source's modification time in whole seconds and its size. A file that is
    edited, loaded and edited again within one second could keep the outdated bytecode.
    """
    try:
        bytecode = importlib.util.cache_from_source(path)
        if os.stat(bytecode).st_mtime - os.stat(path).st_mtime < _MTIME_RESOLUTION:
            os.unlink(bytecode)
    except (OSError, NotImplementedError):
        pass  # there is no bytecode, or the directory is read-only


def _original_code(loader: Any, fullname: str) -> CodeType:
    code: CodeType = cpython.get_code(loader, fullname)
    return code


def get_code(loader: Any, fullname: str) -> CodeType:
    """Replaces ``SourceLoader.get_code``: apps share the code objects of installed private
    packages, as code objects are immutable."""
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
    """Registers the standard library modules and classes in which `patches` detects changes."""
    for name in patches.MODULES:
        when_loaded(name, patches.watch_module)
    for name, classes in patches.CLASSES.items():
        when_loaded(name, functools.partial(patches.watch_classes, names=classes))


def install() -> None:
    """Replaces the functions of importlib."""
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
