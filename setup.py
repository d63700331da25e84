"""Builds the wheel: Caddy, compiled by Go, as an extension module for CPython 3.10 and newer.

The metadata is in pyproject.toml.
"""

from __future__ import annotations

import os
import shlex
import shutil
import sys
import sysconfig
from pathlib import Path

from setuptools import Extension, setup
from setuptools.command.bdist_wheel import bdist_wheel
from setuptools.command.build_ext import build_ext
from setuptools.command.build_py import build_py

ROOT = Path(__file__).resolve().parent
sys.path.insert(0, str(ROOT / "tools"))

import main_module  # noqa: E402  (in tools/)
from version import version  # noqa: E402

# The other modules are embedded in the extension module.
LAUNCHER = {"__init__", "__main__", "launcher"}


def check_tools() -> None:
    """Exits with one line that says what to install if a build requirement is missing."""
    include = sysconfig.get_paths()["include"]
    if not Path(include, "Python.h").is_file():
        minor = f"{sys.version_info[0]}.{sys.version_info[1]}"
        sys.exit(
            f"{sys.executable} has no headers (Python.h): apt-get install python{minor}-dev"
            " (Fedora: dnf install python3-devel)"
        )
    compiler = shlex.split(os.environ.get("CC", "gcc"))[0]
    if shutil.which(compiler) is None:
        sys.exit(
            f"No C compiler ({compiler}): apt-get install gcc libc6-dev (Fedora: dnf install gcc)"
        )


class BuildCaddy(build_ext):
    """Builds the extension module with the server by Go, and that of workers by the C compiler."""

    def get_ext_filename(self, fullname: str) -> str:
        return fullname.replace(".", os.sep) + ".abi3.so"

    def get_source_files(self) -> list[str]:
        return []  # MANIFEST.in lists the sources

    def build_extension(self, ext: Extension) -> None:
        check_tools()
        if ext.sources:
            super().build_extension(ext)
            return
        target = Path(self.get_ext_fullpath(ext.name)).resolve()
        target.parent.mkdir(parents=True, exist_ok=True)
        main_module.build(
            ROOT,
            "module",
            self.distribution.get_version(),
            target,
            name="caddysnake",
            python=sys.executable,
            tags=["pyext"],
            flags=["-buildmode=c-shared"],
        )
        target.with_suffix(".h").unlink(missing_ok=True)


class LauncherOnly(build_py):
    """Leaves out the modules that are embedded in the extension module."""

    def find_package_modules(self, package: str, package_dir: str) -> list[tuple[str, str, str]]:
        found = super().find_package_modules(package, package_dir)
        return [module for module in found if module[1] in LAUNCHER]


class StableABI(bdist_wheel):
    def get_tag(self) -> tuple[str, str, str]:
        return "cp310", "abi3", super().get_tag()[2]


setup(
    version=version(ROOT),
    ext_modules=[
        Extension("caddysnake_py._caddy", []),
        Extension(
            "caddysnake_py._worker",
            ["adopt.c", "caddysnake.c", "worker_start.c", "cmd/worker/module.c"],
            extra_compile_args=["-O2", "-std=gnu11", "-fvisibility=hidden"],
            extra_link_args=["-Wl,-s"],
            py_limited_api=True,
        ),
    ],
    cmdclass={"build_ext": BuildCaddy, "build_py": LauncherOnly, "bdist_wheel": StableABI},
)
