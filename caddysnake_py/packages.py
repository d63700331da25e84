"""The distributions installed in a layer: their dependencies, and which of them cannot be shared.

Reads only the first lines of ``*.dist-info`` and ``*.egg-info`` metadata: `importlib.metadata`
parses whole files, which takes longer than loading an app.
"""

from __future__ import annotations

import dataclasses
import functools
import os
import re
from collections.abc import Iterator, Sequence
from importlib.machinery import EXTENSION_SUFFIXES

# Each app imports its own copy of these, and of all packages that depend on them: they keep one
# configuration per process.
CONFIGURED = frozenset({"django", "asgiref", "sentry_sdk"})
# The same for packages in which applications register metrics, sinks, tables or classes by name. A
# second registration, after a reload, would fail or count twice.
REGISTRIES = frozenset({"prometheus_client", "loguru", "sqlmodel", "sanic", "marshmallow"})
PRIVATE = CONFIGURED | REGISTRIES
# A package that supports one of these as an "extra" may import it late, when the package is already
# shared. So packages with such an extra are private, too.
_FOLLOW_EXTRAS = frozenset({"django", "prometheus-client", "loguru", "sqlmodel", "sanic"})

_NAME = re.compile(r"\s*([A-Za-z0-9][A-Za-z0-9._-]*)")


def normalized(name: str) -> str:
    """Returns the normalized name of a distribution (PEP 503)."""
    return re.sub(r"[-_.]+", "-", name).lower()


@dataclasses.dataclass(frozen=True)
class Distribution:
    """One installed distribution.

    Attributes:
        name: the normalized name.
        version: the version.
        requires: normalized names of the required distributions.
        extras: normalized names of the distributions that its extras require.
        directory: the path of its ``.dist-info`` or ``.egg-info`` directory.
    """

    name: str
    version: str
    requires: frozenset[str]
    extras: frozenset[str]
    directory: str

    @functools.cached_property
    def files(self) -> tuple[str, ...]:
        """The paths of its files, relative to the site directory."""
        try:
            with open(os.path.join(self.directory, "RECORD"), encoding="utf-8") as file:
                return tuple(line.rsplit(",", 2)[0].strip('"') for line in file)
        except (OSError, UnicodeDecodeError):
            return ()

    @functools.cached_property
    def packages(self) -> frozenset[str]:
        """Top-level names of its modules."""
        found = set()
        for file in self.files:
            first, slash, _ = file.partition("/")
            if file.endswith(".py") and first not in ("..", "__pycache__"):
                found.add(first if slash else first.removesuffix(".py"))
        try:
            with open(os.path.join(self.directory, "top_level.txt"), encoding="utf-8") as file_:
                found.update(file_.read().split())
        except (OSError, UnicodeDecodeError):
            pass
        return frozenset(found or {self.name.replace("-", "_")})

    @functools.cached_property
    def has_extensions(self) -> bool:
        return any(file.endswith(tuple(EXTENSION_SUFFIXES)) for file in self.files)


def _read(directory: str) -> Distribution | None:
    name = version = ""
    requires: set[str] = set()
    extras: set[str] = set()
    file_name = "METADATA" if directory.endswith(".dist-info") else "PKG-INFO"
    try:
        with open(os.path.join(directory, file_name), encoding="utf-8") as file:
            for line in file:
                if not line.strip():
                    break  # end of the headers; the description follows
                key, _, value = line.partition(":")
                if key == "Name":
                    name = normalized(value.strip())
                elif key == "Version":
                    version = value.strip()
                elif key == "Requires-Dist":
                    requirement, _, marker = value.partition(";")
                    match = _NAME.match(requirement)
                    if match:
                        (extras if "extra" in marker else requires).add(normalized(match[1]))
    except (OSError, UnicodeDecodeError):
        return None
    if not name:
        return None
    return Distribution(name, version, frozenset(requires), frozenset(extras), directory)


class Installed:
    """The distributions installed in a list of site directories."""

    def __init__(self, directories: Sequence[str]) -> None:
        self._directories = directories

    @functools.cached_property
    def distributions(self) -> dict[str, Distribution]:
        """All distributions by normalized name. The first one on the path counts."""
        found: dict[str, Distribution] = {}
        for directory in self._metadata():
            distribution = _read(directory)
            if distribution is not None:
                found.setdefault(distribution.name, distribution)
        return found

    def _metadata(self) -> Iterator[str]:
        for directory in self._directories:
            try:
                names = os.listdir(directory)
            except OSError:
                continue
            for name in sorted(names):
                if name.endswith((".dist-info", ".egg-info")):
                    yield os.path.join(directory, name)

    def packages_of(self, name: str) -> frozenset[str]:
        """Returns the top-level names of a distribution, which is given by its own name or by that
        of one of its packages."""
        distribution = self.distributions.get(normalized(name))
        if distribution is None:
            distribution = self._with_package(name)
        return distribution.packages if distribution else frozenset()

    def _with_package(self, package: str) -> Distribution | None:
        owners = (each for each in self.distributions.values() if package in each.packages)
        return next(owners, None)

    def has_extensions(self, package: str, file: str | None = None) -> bool:
        """Returns whether the distribution of a package has extension modules.

        Args:
            package: a top-level name.
            file: a file of the package, for packages that a distribution adds to the path itself.
        """
        distribution = self._with_package(package)
        if distribution is None and file is not None:
            distribution = self.distribution_of(file)
        return distribution is not None and distribution.has_extensions

    def private_packages(self, roots: frozenset[str]) -> set[str]:
        """Returns the top-level names of ``roots`` and of all packages that depend on them,
        directly or indirectly."""
        private = set(roots)
        done: set[str] = set()
        added = {
            distribution.name
            for distribution in self.distributions.values()
            if distribution.name in roots or (distribution.packages & roots)
        }
        while added:
            done |= added
            for name in added:
                private |= self.distributions[name].packages
            added = {
                each.name
                for each in self.distributions.values()
                if each.name not in done
                and (each.requires & done or each.extras & done & _FOLLOW_EXTRAS)
                and not each.has_extensions
            }
        return private

    def distribution_of(self, file: str) -> Distribution | None:
        """Returns the distribution to which a file belongs."""
        for distribution in self.distributions.values():
            relative = os.path.relpath(file, os.path.dirname(distribution.directory))
            if relative in distribution.files:
                return distribution
        return None
