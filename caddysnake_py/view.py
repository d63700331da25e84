"""Views: what an app, and the packages that apps share, find when they import.

::

    App ──► Layer (venv) ──► Layer (host) ──► the base: the real ``sys.modules``
             shared packages                   the standard library, and this package

A lookup goes outwards until some layer has the module. Who owns a module is decided when it is
loaded (`owner_of`), and its body runs under its owner's view: what is shared never sees, and so
never binds, what belongs to one app. `imports.py` calls this from inside importlib.
"""

from __future__ import annotations

import importlib._bootstrap as _bootstrap  # type: ignore[import-not-found]
import importlib.util
import logging
import os
import site
import sys
import sysconfig
import threading
import weakref
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from importlib.machinery import ExtensionFileLoader, ModuleSpec, PathFinder, all_suffixes
from types import FrameType, ModuleType
from typing import Any

import _caddysnake

from caddysnake_py import environment, extensions, logs, packages

View = _caddysnake.View
Load = Callable[[ModuleSpec], ModuleType]


def as_importlib(function: Callable[..., Any]) -> None:
    """Makes a function a part of importlib for those who shorten tracebacks: Python leaves the
    frames of its import system out, and ours are among them."""
    filename = _bootstrap._gcd_import.__code__.co_filename
    function.__code__ = function.__code__.replace(co_filename=filename)


@contextmanager
def use(view: View | None) -> Iterator[None]:
    """The thread looks through ``view`` (None: the base) for the length of the block."""
    before = _caddysnake.switch(view)
    try:
        yield
    finally:
        _caddysnake.switch(before)


class Base:
    """The interpreter as it was before any app: set by `set_up`.

    Attributes:
        names: top-level names of the modules that the server itself has imported. No file of an
            app hides these from it, as under any server that is written in Python.
        path, meta_path: what finds the standard library and nothing else.
    """

    names: frozenset[str] = frozenset()
    path: tuple[str, ...] = ()
    meta_path: tuple[Any, ...] = ()


class PrivateNeeded(BaseException):
    """A shared package imports one that each app has for itself, so it can't be shared.

    Not an ``Exception``: it must pass through the package's ``except ImportError``. What is
    swallowed all the same is found in `_needed`.

    Attributes:
        packages: top-level names of all whose import depends on it.
    """

    def __init__(self, name: str, packages: frozenset[str]) -> None:
        super().__init__(f"{', '.join(sorted(packages))} imports {name}")
        self.packages = packages


class _Needed(threading.local):
    """The last `PrivateNeeded` of a thread."""

    error: PrivateNeeded | None = None


_needed = _Needed()
_layers: list[Layer] = []


def _importing_packages() -> frozenset[str]:
    """Top-level names of the shared modules whose bodies are being run on this thread."""
    found = set()
    frame: FrameType | None = sys._getframe()
    while frame is not None:
        if frame.f_code.co_name == "<module>":
            name = frame.f_globals.get("__name__", "")
            if any(name in layer.modules for layer in _layers):
                found.add(packages.top(name))
        frame = frame.f_back
    return frozenset(found)


def _is_namespace(module: ModuleType) -> bool:
    spec = getattr(module, "__spec__", None)
    return spec is not None and spec.origin is None and hasattr(module, "__path__")


def _same_source(one: ModuleSpec | None, other: ModuleSpec) -> bool:
    if one is None:
        return False
    if one.origin is None and other.origin is None:
        places = one.submodule_search_locations or ()
        return list(places) == list(other.submodule_search_locations or ())
    return one.origin == other.origin


def _found_by(view: View | None, name: str) -> ModuleSpec | None:
    """What ``view`` would import under that name."""
    before = _needed.error
    with use(view):
        try:
            return importlib.util.find_spec(name)
        except (ImportError, AttributeError, ValueError, PrivateNeeded):
            return None
        finally:
            _needed.error = before


def _outer(view: View) -> Iterator[View | None]:
    """The views behind one, the base first."""
    if view.outer is not None:
        yield from _outer(view.outer)
        yield view.outer
    else:
        yield None


def owner_of(view: View, spec: ModuleSpec) -> View | None:
    """Returns the view that a module found by ``view`` belongs to: the outermost that finds the
    same file, and for a submodule that of its package."""
    parent = spec.name.rpartition(".")[0]
    if parent and not _is_namespace(sys.modules[parent]):
        return _caddysnake.owner(parent)
    for outer in _outer(view):
        if _same_source(_found_by(outer, spec.name), spec):
            return outer
    return view


def importable_names(directory: str) -> set[str]:
    """Top-level names that a directory offers to ``import``."""
    names: set[str] = set()
    try:
        with os.scandir(directory) as entries:
            for entry in entries:
                name, dot, _ = entry.name.partition(".")
                if not name.isidentifier() or name == "__pycache__":
                    continue
                if dot:
                    if entry.name[len(name) :] in _SUFFIXES:
                        names.add(name)
                # A directory without __init__ never wins over the standard library.
                elif name not in sys.stdlib_module_names or any(
                    os.path.exists(os.path.join(entry.path, "__init__" + suffix))
                    for suffix in _SUFFIXES
                ):
                    names.add(name)
    except OSError:
        pass  # no directory: a zip file, or not there
    return names


_SUFFIXES = frozenset(all_suffixes())


class _LateFinders:
    """Finds what the layer behind has learnt to find since a view was made: finders and
    directories that its packages have added to ``sys`` when they were imported."""

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
    """The packages of one Python installation, shared by the apps on it and kept for good.

    Attributes:
        private: top-level names of packages that each app imports for itself.
        installed: the distributions in ``site_dirs``.
        apps: those on this layer.
    """

    def __new__(cls, site_dirs: Sequence[str], outer: Layer | None, prefix: str) -> Layer:
        return super().__new__(cls, 0, outer)

    def __init__(self, site_dirs: Sequence[str], outer: Layer | None, prefix: str) -> None:
        self.site_dirs = tuple(site_dirs)
        self.prefix = self.exec_prefix = prefix
        executable = os.path.join(prefix, "bin", "python")
        self.executable = executable if os.path.exists(executable) else sys.executable
        self.path = list(Base.path)
        self.meta_path = list(Base.meta_path)
        self.installed = packages.Installed(site_dirs)
        self.private = self.installed.private_packages(packages.PRIVATE)
        self.apps: weakref.WeakSet[App] = weakref.WeakSet()
        if outer is not None:
            self.meta_path += [*outer.meta_path[len(Base.meta_path) :], _LateFinders(outer)]
            self.private |= outer.private
        _layers.append(self)

    def chain(self) -> Iterator[Layer]:
        """This layer and those behind it."""
        layer: View | None = self
        while isinstance(layer, Layer):
            yield layer
            layer = layer.outer

    def add_site_dirs(self) -> None:
        """Puts the directories on the path and does what their ``.pth`` files say."""
        with use(self):
            for directory in self.site_dirs:
                site.addsitedir(directory)
        if self.outer is not None:
            behind = [entry for entry in self.outer.path if entry not in self.path]
            offered = {name for entry in self.path for name in importable_names(entry)}
            self.path += behind
            self.claims = offered - Base.names - sys.stdlib_module_names

    def load(self, spec: ModuleSpec, load: Load) -> ModuleType:
        """Loads a module for this layer, or has the one behind it load what it owns."""
        if packages.top(spec.name) in self.private:
            _needed.error = PrivateNeeded(spec.name, _importing_packages())
            raise _needed.error
        owner = owner_of(self, spec)
        if owner is self:
            if isinstance(spec.loader, ExtensionFileLoader):
                extensions.check(spec, self.installed)
            return load(spec)
        return _import_from(owner, self, spec.name)

    def make_private(self, names: Iterable[str], reason: str) -> None:
        """From now on each app imports these packages for itself.

        Raises:
            ImportError: one of them has extension modules, of which there can be only one.
        """
        for top in names:
            if any(layer.installed.has_extensions(top) for layer in self.chain()):
                raise ImportError(
                    f"{top} has extension modules, so all applications share it; but it needs a "
                    f"package that each application has for itself: {reason}",
                    name=top,
                )
        for layer in self.chain():
            layer.private |= set(names)
            for name in [name for name in layer.modules if packages.top(name) in names]:
                del layer.modules[name]
            for app in list(layer.apps):
                app.private |= set(names)
                app.claims = app.claims | set(names)
        logs.emit(
            logging.DEBUG,
            "caddysnake",
            f"each application imports {', '.join(sorted(names))} for itself, because {reason}",
        )


def _import_from(owner: View | None, view: View, name: str) -> ModuleType:
    """Imports a module of ``owner`` for ``view``."""
    with use(owner):
        module: ModuleType = _bootstrap._gcd_import(name)
    if view.claims and packages.top(name) in view.claims:
        view.modules[name] = module  # it would not be found there otherwise
    return module


as_importlib(_import_from)
as_importlib(Layer.load)


class _AppFinder:
    """Finds the module that the configuration names in ``working_dir``, even if it is called like
    one that is frozen or built into Python."""

    def __init__(self, name: str, working_dir: str) -> None:
        self._name = name
        self._path = [working_dir]

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname != self._name or path is not None:
            return None
        return PathFinder.find_spec(fullname, self._path, target)


class App(View):
    """What one loaded app sees: everything under its ``working_dir``, private packages, and the
    layers behind.

    Attributes:
        layer: what it shares with other apps.
        private: top-level names of packages that it imports for itself.
        variables: what it has set (None: deleted) of the environment.
        at_exit: what it has registered with ``atexit``.
    """

    def __new__(
        cls, app: int, working_dir: str, layer: Layer, module: str, isolate: Sequence[str] = ()
    ) -> App:
        return super().__new__(cls, app, layer)

    def __init__(
        self, app: int, working_dir: str, layer: Layer, module: str, isolate: Sequence[str] = ()
    ) -> None:
        self.layer = layer
        self.working_dir = working_dir
        self.prefix, self.exec_prefix = layer.prefix, layer.exec_prefix
        self.executable = layer.executable
        self.variables: dict[bytes, bytes | None] = {}
        self.at_exit: list[tuple[Callable[..., Any], tuple[Any, ...], dict[str, Any]]] = []
        self.private = layer.private | self._isolated(isolate)
        self.path = [working_dir, *layer.path]
        self.meta_path: list[Any] = [*layer.meta_path, _LateFinders(layer)]
        self._root = os.path.join(os.path.realpath(working_dir), "")
        elsewhere = [*Base.path, *(entry for each in layer.chain() for entry in each.site_dirs)]
        self._elsewhere = tuple(os.path.join(entry, "") for entry in elsewhere)
        self._named: set[str] = set()
        top = packages.top(module)
        if top in importable_names(working_dir):
            self._named.add(top)
            self.meta_path.insert(0, _AppFinder(top, working_dir))
        self.claims = frozenset()  # made when they are first needed
        layer.apps.add(self)

    def _isolated(self, names: Sequence[str]) -> set[str]:
        found: set[str] = set()
        for name in names:
            tops = {top for each in self.layer.chain() for top in each.installed.packages_of(name)}
            problem = "is not installed" if not tops else ""
            if any(each.installed.has_extensions(top) for each in self.layer.chain() for top in tops):
                problem = "has extension modules, which all applications of a process share"
            if problem:
                logs.emit(
                    logging.WARNING,
                    "caddysnake",
                    f"isolate {name} has no effect: the package {problem}",
                    self.app,
                )
            else:
                found |= tops
        return {
            top
            for each in self.layer.chain()
            for top in each.installed.private_packages(frozenset(found))
        } if found else found

    def path_changed(self) -> None:
        """Claims every name that the app's own directories offer, so that what other apps have
        imported under such a name from elsewhere is not found first."""
        shared = self.layer.path
        own = [entry for entry in self.path if entry not in shared or self._is_below(entry)]
        offered = {name for entry in own for name in importable_names(entry)}
        self.claims = frozenset(offered - Base.names | self._named | self.private)

    def _is_below(self, path: str) -> bool:
        """Whether a path is in ``working_dir`` and in no installation that is there, too."""
        below = (os.path.join(self.working_dir, ""), self._root)
        return (path + "/").startswith(below) and not (path + "/").startswith(self._elsewhere)

    def load(self, spec: ModuleSpec, load: Load) -> ModuleType:
        """Loads a module for this app, or has the layer load what it owns."""
        name = spec.name
        if packages.top(name) in self.private or (spec.origin and self._is_below(spec.origin)):
            return load(spec)
        owner = owner_of(self, spec)
        if owner is self:
            return load(spec)
        _needed.error = None
        try:
            module = _import_from(owner, self, name)
        except PrivateNeeded as error:
            _needed.error = error
        needed, _needed.error = _needed.error, None
        if needed is None:
            return module
        # The packages that need it, and this one at least, are not for sharing.
        self.layer.make_private(needed.packages | {packages.top(name)}, str(needed))
        parent = name.rpartition(".")[0]
        path = _bootstrap._gcd_import(parent).__path__ if parent else None
        found = self.modules.get(name)  # its package may have imported it
        return load(_bootstrap._find_spec(name, path)) if found is None else found


as_importlib(App.load)


class _HostLayer:
    """The packages of the Python that Caddy was built with."""

    layer: Layer


_venvs: dict[str, Layer] = {}
_making = threading.Lock()


def layer_for(venv: str | None) -> Layer:
    """Returns the layer of a virtual environment, or that of the host; one for each.

    Raises:
        LoadError: it is no virtual environment, or one of another Python version.
    """
    if venv is None:
        return _HostLayer.layer
    key = os.path.realpath(venv)
    with _making:
        layer = _venvs.get(key)
        if layer is None:
            found = environment.read_venv(venv)
            outer = _HostLayer.layer if found.sees_host else None
            layer = Layer(found.site_packages, outer, venv)
            layer.add_site_dirs()
            _venvs[key] = layer
        return layer


def _is_below(path: str, directories: Iterable[str]) -> bool:
    return path.startswith(tuple(os.path.join(directory, "") for directory in directories))


def set_up() -> None:
    """Divides what the interpreter has found at its start into the base and the host's layer."""
    stdlib = [os.path.realpath(sysconfig.get_path(name)) for name in ("stdlib", "platstdlib")]
    stdlib += [sysconfig.get_path(name) for name in ("stdlib", "platstdlib")]

    def is_stdlib(entry: str) -> bool:
        if entry.endswith(".zip") or entry in stdlib:
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
    layer.path += host
    layer.meta_path += finders
    # What .pth files and sitecustomize have imported before us.
    for name, module in list(sys.modules.items()):
        spec = getattr(module, "__spec__", None)
        if spec is not None and spec.origin and _is_below(spec.origin, host):
            if name.partition(".")[0] not in ("__main__", "_caddy"):
                layer.modules[name] = sys.modules.pop(name)
    Base.names = frozenset(packages.top(name) for name in sys.modules)
    _HostLayer.layer = layer
