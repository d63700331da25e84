"""Builds the wheel: Caddy, compiled by Go, as an extension module for every CPython from 3.10 on.

What is declared lives in pyproject.toml.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from pathlib import Path

from setuptools import Extension, setup
from setuptools.command.bdist_wheel import bdist_wheel
from setuptools.command.build_ext import build_ext
from setuptools.command.build_py import build_py

ROOT = Path(__file__).resolve().parent
sys.path.insert(0, str(ROOT / "tools"))

import main_module  # noqa: E402  (in tools/)

CADDY = "github.com/caddyserver/caddy/v2"
# The server brings the rest of the package with it.
LAUNCHER = {"__init__", "__main__", "launcher"}


def git(*arguments: str) -> str | None:
    try:
        done = subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True)
    except OSError:
        return None
    return done.stdout.strip() if done.returncode == 0 else None


def version() -> str:
    """The version of the checkout, or of the source distribution.

    A tagged commit has the version of its tag; others are on the way to the version after it.
    """
    if (ROOT / "PKG-INFO").exists():
        match = re.search(r"^Version: (.+)$", (ROOT / "PKG-INFO").read_text(), re.MULTILINE)
        assert match is not None
        return match[1]
    described = git("describe", "--tags", "--long", "--match", "v[0-9]*.[0-9]*.[0-9]*")
    if described is not None:
        match = re.fullmatch(r"v(\d+\.\d+)\.(\d+)-(\d+)-(g\w+)", described)
        assert match is not None, described
        if match[3] == "0":
            return f"{match[1]}.{match[2]}"
        return f"{match[1]}.{int(match[2]) + 1}.dev{match[3]}+{match[4]}"
    count, commit = git("rev-list", "--count", "HEAD"), git("rev-parse", "--short", "HEAD")
    return f"0.1.0.dev{count}+g{commit}" if count and commit else "0.1.0.dev0"


def check_tools() -> None:
    """Stops with one line that says what to install."""
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
    """Go makes the extension module."""

    def get_ext_filename(self, fullname: str) -> str:
        return fullname.replace(".", os.sep) + ".abi3.so"

    def get_source_files(self) -> list[str]:
        return []  # MANIFEST.in names them

    def build_extension(self, ext: Extension) -> None:
        check_tools()
        target = Path(self.get_ext_fullpath(ext.name)).resolve()
        target.parent.mkdir(parents=True, exist_ok=True)
        number = self.distribution.get_version()
        settings = {"CustomVersion": f"caddysnake {number}", "CustomBinaryName": "caddysnake"}
        link = [f"-X '{CADDY}.{name}={value}'" for name, value in settings.items()]
        environment = {
            **os.environ,
            "CGO_ENABLED": "1",
            "PKG_CONFIG": str(ROOT / "tools" / "pkg-config"),
            "CADDYSNAKE_PYTHON": sys.executable,
        }
        with tempfile.TemporaryDirectory() as directory:
            main_module.write(Path(directory), ROOT, "module", number)
            command = [
                os.environ.get("GO", "go"),
                "build",
                "-buildmode=c-shared",
                "-buildvcs=false",
                "-trimpath",
                "-tags=pyext,nobadger,nomysql,nopgx",
                f"-ldflags=-s -w {' '.join(link)}",
                f"-o={target}",
            ]
            print("+", shlex.join(command), flush=True)
            subprocess.run(command, cwd=directory, env=environment, check=True)
        target.with_suffix(".h").unlink(missing_ok=True)


class LauncherOnly(build_py):
    """Leaves out the modules that are inside the server."""

    def find_package_modules(self, package: str, package_dir: str) -> list[tuple[str, str, str]]:
        found = super().find_package_modules(package, package_dir)
        return [module for module in found if module[1] in LAUNCHER]


class StableABI(bdist_wheel):
    def get_tag(self) -> tuple[str, str, str]:
        return "cp310", "abi3", super().get_tag()[2]


setup(
    version=version(),
    ext_modules=[Extension("caddysnake_py._caddy", [])],
    cmdclass={"build_ext": BuildCaddy, "build_py": LauncherOnly, "bdist_wheel": StableABI},
)
