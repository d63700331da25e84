"""The two kinds of view: `AppView` for one app, `Layer` for packages that apps share."""

from __future__ import annotations

import asyncio
import logging
import os
import site
import sys
import threading
import weakref
from collections.abc import Callable, Iterable, Iterator, Sequence
from importlib.machinery import ExtensionFileLoader, ModuleSpec, PathFinder
from types import FrameType, ModuleType
from typing import Any

from caddysnake_py import cpython, extension_modules, logs, main_module, packages
from caddysnake_py.copies import share_names
from caddysnake_py.view import (
    Base,
    Load,
    PrivateNeeded,
    View,
    as_importlib,
    import_from,
    importable_names,
    owner_of,
    top,
    use,
    was_deleted,
)


class _Needed(threading.local):
    """The last `PrivateNeeded` of a thread: some packages suppress even a ``BaseException``."""

    error: PrivateNeeded | None = None


_needed = _Needed()
_layers: list[Layer] = []


def every_layer() -> Sequence[Layer]:
    """Returns all layers that exist."""
    return tuple(_layers)


def _importing_packages() -> dict[str, str | None]:
    """Returns the top-level names of the shared modules whose bodies this thread is executing. The
    value is the file of one such module."""
    found: dict[str, str | None] = {}
    frame: FrameType | None = sys._getframe()
    while frame is not None:
        if frame.f_code.co_name == "<module>":
            name = frame.f_globals.get("__name__", "")
            if any(name in layer.modules for layer in _layers):
                found.setdefault(top(name), frame.f_globals.get("__file__"))
        frame = frame.f_back
    return found


class _LateFinders:
    """Consults the finders and directories that packages of the outer layer have added to ``sys``
    since the view was created."""

    def __init__(self, layer: Layer) -> None:
        self._layer = layer
        self._known_finders = len(layer.meta_path)
        self._known_path = len(layer.path)

    def _finders(self) -> list[Any]:
        known = self._layer.meta_path[: self._known_finders]
        return [finder for finder in self._layer.meta_path if finder not in known]

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        for finder in self._finders():
            spec: ModuleSpec | None = finder.find_spec(fullname, path, target)
            if spec is not None:
                return spec
        directories = self._layer.path[self._known_path :]
        if path is None and directories:
            return PathFinder.find_spec(fullname, directories, target)
        return None

    def find_distributions(self, *args: Any) -> Iterator[Any]:
        for finder in self._finders():
            if hasattr(finder, "find_distributions"):
                yield from finder.find_distributions(*args)


class Layer(View):
    """The packages of one Python installation. Its apps share them; they are never unloaded.

    Attributes:
        private: top-level names of packages that every app imports as its own copy.
        registries: private packages that the layer itself may import as well.
        installed: the distributions in ``site_dirs``.
        apps: the apps that use this layer.
        lazy_modules: ``sys.lazy_modules`` of the layer's modules.
        lazy_children: see `lazyimports.py`.
    """

    def __new__(cls, site_dirs: Sequence[str], outer: Layer | None, prefix: str) -> Layer:
        return super().__new__(cls, 0, outer)

    def __init__(self, site_dirs: Sequence[str], outer: Layer | None, prefix: str) -> None:
        self.site_dirs = tuple(site_dirs)
        self.prefix = self.exec_prefix = prefix
        executable = os.path.join(prefix, "bin", "python")
        self.executable = executable if os.path.exists(executable) else sys.executable
        self.path = [*Base.python_path, *Base.path]
        self.meta_path = list(Base.meta_path)
        self.argv = sys.argv
        self.installed = packages.Installed(site_dirs)
        self.private: set[str] = set()
        self.registries: set[str] = set()
        self._apps: dict[int, weakref.ref[AppView]] = {}
        self.lazy_modules: set[str] = set()
        self.lazy_children: dict[str, dict[str, bool]] = {}
        if outer is not None:
            self.meta_path += [*outer.meta_path[len(Base.meta_path) :], _LateFinders(outer)]
        _layers.append(self)

    @property
    def apps(self) -> list[AppView]:
        """The apps whose innermost layer is this one.

        Not a WeakSet: iterating over one raises RuntimeError while other threads load or free apps.
        """
        return [app for each in tuple(self._apps.values()) if (app := each()) is not None]

    def add(self, app: AppView) -> None:
        """Adds an app to ``apps``, without keeping the app alive."""
        number = app.app
        self._apps[number] = weakref.ref(app, lambda _: self._apps.pop(number, None))

    def chain(self) -> Iterator[Layer]:
        """Yields this layer and its outer layers, the innermost first."""
        layer: View | None = self
        while isinstance(layer, Layer):
            yield layer
            layer = layer.outer

    def add_site_dirs(self) -> None:
        """Adds the site directories to the path and processes their ``.pth`` files."""
        with use(self):
            for directory in self.site_dirs:
                site.addsitedir(directory)
        self.claim_python_path()
        if self.outer is not None:
            behind = [entry for entry in self.outer.path if entry not in self.path]
            offered = {name for entry in self.path for name in importable_names(entry)}
            self.path += behind
            self.claims = self.claims | (offered - Base.names - sys.stdlib_module_names)

    def claim_python_path(self) -> None:
        """Gives modules on ``PYTHONPATH`` precedence over the standard library."""
        offered = {name for entry in Base.python_path for name in importable_names(entry)}
        self.claims = frozenset(offered - Base.names)

    def find_private(self) -> None:
        """Determines the private packages. Call it after ``.pth`` files have been processed: their
        imports run for no app, so even private packages must be importable."""
        configured: set[str] = set()
        registries = frozenset(
            name for name in packages.REGISTRIES if not self.has_extensions(name)
        )
        for layer in self.chain():
            configured |= layer.installed.private_packages(packages.CONFIGURED)
            self.registries |= layer.installed.private_packages(registries)
        self.registries -= configured
        self.private |= configured | self.registries

    def import_later(self, holder: str, name: str, load: Callable[[], ModuleType]) -> ModuleType:
        """Resolves a lazy import of a shared module. That module is in use by now, so it cannot
        become private to the app that resolves the import.

        Args:
            holder: the module with the import statement.
            name: the module to import.
            load: imports it.

        Raises:
            ImportError: the module needs a private package.
        """
        before, _needed.error = _needed.error, None
        try:
            module = load()
        except PrivateNeeded as error:
            _needed.error = error
        needed, _needed.error = _needed.error, before
        if needed is None:
            return module
        if _importing_packages():
            _needed.error = needed
            raise needed
        self.make_private(needed.packages | {top(name), top(holder)}, str(needed))
        raise ImportError(
            f"{holder} is shared by applications, but its lazy import of {name} needs "
            f"{needed.name}, which each has for itself: write isolate {top(holder)}, or load the "
            f"application again",
            name=name,
        )

    def load(self, spec: ModuleSpec, load: Load) -> ModuleType:
        """Loads a module in this layer, or in the outer layer that owns the module."""
        self.refuse_private(spec.name)
        owner = self if was_deleted(self, spec.name) else owner_of(self, spec)
        if owner is self:
            self.loading.add(spec.name)
            try:
                if not isinstance(spec.loader, ExtensionFileLoader):
                    return load(spec)
                extension_modules.check(spec, self.installed)
                return extension_modules.load(spec, load)
            finally:
                self.loading.discard(spec.name)
        return import_from(owner, self, spec.name)

    def refuse_private(self, name: str) -> None:
        """Prevents shared packages from importing a private package.

        Packages with extension modules cannot be private. They may import the layer's copy of a
        registry (`packages.REGISTRIES`), but no package of `packages.CONFIGURED`.

        Raises:
            PrivateNeeded: the importing packages can become private.
            ModuleNotFoundError: they cannot. Packages with an optional import handle this error.
        """
        if top(name) not in self.private:
            return
        importing = _importing_packages()
        stuck = [each for each, file in importing.items() if self.has_extensions(each, file)]
        if not stuck:
            _needed.error = PrivateNeeded(name, frozenset(importing))
            raise _needed.error
        if top(name) in self.registries:
            return
        text = (
            f"{', '.join(sorted(stuck))} can't import {name}, because it has extension modules, so "
            f"all applications share it, and each application has {top(name)} for itself"
        )
        logs.emit(logging.DEBUG, "caddysnake", text)
        raise ModuleNotFoundError(f"No module named {name!r}: {text}", name=name)

    def has_extensions(self, package: str, file: str | None = None) -> bool:
        """Returns whether a package of this layer or of an outer layer has extension modules."""
        return any(layer.installed.has_extensions(package, file) for layer in self.chain())

    def make_private(self, names: Iterable[str], reason: str) -> None:
        """Makes packages private: each app imports its own copy from now on.

        Raises:
            ImportError: a package has extension modules, which a process can load only once.
        """
        for name in names:
            if self.has_extensions(name):
                raise ImportError(
                    f"{name} has extension modules, so all applications share it; but it needs a "
                    f"package that each application has for itself: {reason}",
                    name=name,
                )
        for layer in self.chain():
            layer.private |= set(names)
            for name in [name for name in list(layer.modules) if top(name) in names]:
                layer.modules.pop(name, None)
            for app in layer.apps:
                app.private |= set(names)
                app.claims = app.claims | set(names)
        logs.emit(
            logging.DEBUG,
            "caddysnake",
            f"each application imports {', '.join(sorted(names))} for itself, because {reason}",
        )


as_importlib(Layer.load)
as_importlib(Layer.import_later)
as_importlib(Layer.refuse_private)


class _AppFinder:
    """Finds the configured module in the app's directories, even if a frozen or built-in module has
    the same name."""

    def __init__(self, name: str, directories: Sequence[str]) -> None:
        self._name = name
        self._path = list(directories)

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname != self._name or path is not None:
            return None
        return PathFinder.find_spec(fullname, self._path, target)


class AppView(View):
    """The view of one loaded app: the modules in the app's directories, its copies of private
    packages, and the layers.

    Attributes:
        directories: ``working_dir`` and the directories of ``python_path``.
        layer: the layer that the app shares with other apps.
        private: top-level names of packages that the app imports as its own copy.
        variables: environment variables that the app has set; None for deleted ones.
        at_exit: functions registered with ``atexit``, with their arguments.
        settings: settings of standard library modules; see `settings.py`.
        streams: the app's original ``sys.stdout`` and ``sys.stderr``.
        loggers: the state of each logger for this app, by identity; see `loggers.py`.
        tracing: arguments of ``threading.settrace`` ("trace") and ``setprofile`` ("profile").
        loop: the app's event loop, if there is one.
        application: the callable that the server calls. No module needs to refer to it.
        tempdir: the directory for temporary files, if the app's environment names one.
        threads: running threads that the app has started: identity to function name.
        lazy_modules: the app's ``sys.lazy_modules``.
        lazy_children: see `lazyimports.py`.
    """

    def __new__(
        cls,
        app: int,
        directories: Sequence[str],
        layer: Layer,
        module: str,
        isolate: Sequence[str] = (),
    ) -> AppView:
        return super().__new__(cls, app, layer)

    def __init__(
        self,
        app: int,
        directories: Sequence[str],
        layer: Layer,
        module: str,
        isolate: Sequence[str] = (),
    ) -> None:
        self.layer = layer
        self.directories = tuple(directories)
        self.prefix, self.exec_prefix = layer.prefix, layer.exec_prefix
        self.executable = layer.executable
        self.variables: dict[bytes, bytes | None] = {}
        self.loop: asyncio.AbstractEventLoop | None = None
        self.application: object = None
        self.tempdir: str | None = None
        self.threads: dict[int, str] = {}
        self.at_exit: list[tuple[Callable[..., Any], tuple[Any, ...], dict[str, Any]]] = []
        self.settings: dict[str, Any] = {}
        self.streams: dict[str, Any] = {}
        self.loggers: dict[int, dict[str, Any]] = {}
        self.tracing: dict[str, Any] = {}
        self.lazy_modules: set[str] = set()
        self.lazy_children: dict[str, dict[str, bool]] = {}
        self.private = layer.private | self._isolated(isolate)
        self.path = [*directories, *layer.path]
        self.meta_path: list[Any] = [*layer.meta_path, _LateFinders(layer)]
        roots = [*directories, *map(os.path.realpath, directories)]
        self._roots = tuple(os.path.join(root, "") for root in roots)
        elsewhere = [*Base.path, *(entry for each in layer.chain() for entry in each.site_dirs)]
        self._elsewhere = tuple(os.path.join(entry, "") for entry in elsewhere)
        self._named: set[str] = set()
        named = top(module)
        if any(named in importable_names(directory) for directory in directories):
            self._named.add(named)
            self.meta_path.insert(0, _AppFinder(named, directories))
        main = main_module.make(directories[0])
        self.modules["__main__"] = main
        self.argv = [main.__dict__["__file__"]]
        self.claims = frozenset()  # computed by path_changed() on first use
        layer.add(self)

    def _isolated(self, names: Sequence[str]) -> set[str]:
        """Returns the top-level names of the packages to isolate and of all packages that depend on
        them."""
        layers = list(self.layer.chain())
        roots: set[str] = set()
        for name in names:
            found = {package for each in layers for package in each.installed.packages_of(name)}
            problem = ""
            if not found:
                problem = "is not installed"
            elif any(
                each.installed.has_extensions(package) for each in layers for package in found
            ):
                problem = "has extension modules, which all applications of a process share"
            if problem:
                text = f"isolate {name} has no effect: the package {problem}"
                logs.emit(logging.WARNING, "caddysnake", text, self.app)
            else:
                roots |= found
        if not roots:
            return roots
        closures = [each.installed.private_packages(frozenset(roots)) for each in layers]
        return set().union(*closures)

    def path_changed(self) -> None:
        """Claims every module name in the app's own directories. Otherwise a shared module of the
        same name, imported for another app, would be found first."""
        shared = self.layer.path
        own = [entry for entry in self.path if entry not in shared or self.is_below(entry)]
        offered = {name for entry in own for name in importable_names(entry)}
        self.claims = frozenset(offered - Base.names | self._named | self.private)

    def is_below(self, path: str) -> bool:
        """Returns whether a path is in the app's directories, but not in a Python installation
        inside them."""
        return (path + "/").startswith(self._roots) and not (path + "/").startswith(self._elsewhere)

    def load(self, spec: ModuleSpec, load: Load) -> ModuleType:
        """Loads a module for this app, or in the layer that owns the module."""
        name = spec.name
        if isinstance(spec.loader, ExtensionFileLoader) and self.is_below(spec.origin or ""):
            return extension_modules.load(spec, load)
        if spec.origin and self.is_below(spec.origin):
            return load(spec)
        if top(name) in self.private:
            share_names(spec)
            return load(spec)
        owner = self if was_deleted(self, name) else owner_of(self, spec)
        if owner is self:
            return load(spec)
        _needed.error = None
        try:
            module = import_from(owner, self, name)
        except PrivateNeeded as error:
            _needed.error = error
        needed, _needed.error = _needed.error, None
        if needed is None:
            return module
        # The packages that import the private one, including this one, must be private as well.
        self.layer.make_private(needed.packages | {top(name)}, str(needed))
        parent = name.rpartition(".")[0]
        path = cpython.gcd_import(parent).__path__ if parent else None
        found = self.modules.get(name)  # importing the parent may have imported the module
        return load(cpython.find_spec(name, path)) if found is None else found


as_importlib(AppView.load)
