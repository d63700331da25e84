"""Makes ``caddysnake_py`` importable from the sources embedded in the binary, and starts it.

The C core executes this file with the globals ``SOURCES`` (module name -> source text) and
``CONTROL``: the descriptor of a worker's control socket, or -1 in Caddy's process. A worker leaves
its exit code in ``EXIT_CODE``.
"""

from __future__ import annotations

import builtins
import sys
from collections.abc import Sequence
from importlib.abc import InspectLoader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import CodeType, ModuleType

PACKAGE = "caddysnake_py"
_builtins = dict(vars(builtins))
CONTROL: int = globals()["CONTROL"]


class EmbeddedSources(MetaPathFinder, InspectLoader):
    """Finds and loads the package's modules. Tracebacks can show their source lines."""

    def __init__(self, sources: dict[str, str]) -> None:
        self._sources = sources

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        package, _, name = fullname.partition(".")
        if package != PACKAGE or (name or "__init__") not in self._sources:
            return None
        spec = ModuleSpec(fullname, self, origin=self._filename(fullname), is_package=not name)
        spec.has_location = True
        return spec

    def get_source(self, fullname: str) -> str:
        return self._sources[fullname.partition(".")[2] or "__init__"]

    def get_code(self, fullname: str) -> CodeType:
        return self.source_to_code(self.get_source(fullname), self._filename(fullname))

    def is_package(self, fullname: str) -> bool:
        return fullname == PACKAGE

    def exec_module(self, module: ModuleType) -> None:
        """Executes a module with a copy of the builtins: later changes by apps have no effect on
        this package."""
        vars(module)["__builtins__"] = _builtins
        super().exec_module(module)

    @staticmethod
    def _filename(fullname: str) -> str:
        return f"<{PACKAGE}/{fullname.partition('.')[2] or '__init__'}.py>"


finder = EmbeddedSources(globals()["SOURCES"])
sys.meta_path.insert(0, finder)
# The server's own imports are never lazy, even if those of applications are (PEP 810, Python 3.15).
mode: str = sys.get_lazy_imports() if hasattr(sys, "get_lazy_imports") else "normal"
if mode != "normal":
    sys.set_lazy_imports("normal")  # type: ignore[attr-defined]

# Importable while the finder is on sys.meta_path.
if CONTROL < 0:
    from caddysnake_py import bridge
else:
    from caddysnake_py import worker

sys.meta_path.remove(finder)
if CONTROL < 0:
    bridge.start()
if mode != "normal":
    sys.set_lazy_imports(mode)  # type: ignore[attr-defined]
if CONTROL >= 0:
    EXIT_CODE = worker.run(CONTROL)
