"""Copies the running Python to a folder, as a relocatable installation."""

from __future__ import annotations

import os
import pprint
import runpy
import shlex
import shutil
import sys
import sysconfig
import zipfile
from pathlib import Path

import elf
import python_flags

HERE = Path(__file__).resolve().parent
NAME = f"python{sys.version_info[0]}.{sys.version_info[1]}"
PREFIX = "@prefix@"

# Patterns of files and folders in the standard library that are not copied.
DROPPED = [
    # installed packages, files added by the distribution, and bytecode
    *("site-packages", "dist-packages", "EXTERNALLY-MANAGED", "sitecustomize.py", "__pycache__"),
    # tests and examples
    *("test", "tests", "idle_test", "_test*.so", "_ctypes_test.*", "_xxtestfuzz.*"),
    *("xxlimited*.so", "xxsubtype.*"),
    # modules that need a display, an interactive terminal, or a compiler
    *("idlelib", "tkinter", "_tkinter.*", "turtle.py", "turtledemo", "pydoc_data", "ossaudiodev.*"),
    *("config-*", "*.a", "*.exe"),
    # modules of libraries under other licences (readline, gdbm: GPL; db), or with many dependencies
    *("readline.*", "_gdbm.*", "_dbm.*", "_crypt.*", "nis.*"),
]

CERTIFICATES = """

# Added by caddysnake.
import _system_certificates

_system_certificates.extend(SSLContext)
"""

PIP = """\
#!/bin/sh
exec "$(dirname "$(readlink -f "$0")")/python3" -m pip "$@"
"""

VARIABLES = """\
# Build variables of sysconfig. This Python is relocatable, so the prefix is set at run time.
import sys

build_time_vars = {variables}
for name, value in build_time_vars.items():
    if isinstance(value, str):
        build_time_vars[name] = value.replace("{prefix}", sys.base_prefix)
"""


def copy(target: Path) -> Path:
    """Copies the interpreter and its standard library to `target`; returns the library's folder.

    The caller copies the shared libraries that they need.
    """
    source = Path(sysconfig.get_path("stdlib"))
    library = target / source.relative_to(sys.base_prefix)
    shutil.copytree(source, library, symlinks=True, ignore=shutil.ignore_patterns(*DROPPED))
    # Debian and Fedora keep the wheels for new environments in this folder; others in ensurepip.
    wheels = sysconfig.get_config_var("WHEEL_PKG_DIR")
    bundled = library / "ensurepip" / "_bundled"
    if wheels:
        bundled.mkdir(exist_ok=True)
        for name in ("pip", "setuptools"):
            for wheel in Path(wheels).glob(f"{name}-*.whl"):
                shutil.copy(wheel, bundled)
    for path in library.glob("_sysconfigdata_*.py"):
        if not path.is_symlink():
            _relocate(path, bundled.relative_to(target) if wheels else None)
    shutil.copy(HERE / "system_certificates.py", library / "_system_certificates.py")
    with (library / "ssl.py").open("a") as ssl:
        ssl.write(CERTIFICATES)
    _build_executable(target / "bin")
    return library


def _relocate(path: Path, wheels: Path | None) -> None:
    """Removes the prefix of the build from sysconfig's variables."""

    def relocated(value: object) -> object:
        # Many paths in /usr do not belong to Python, and exist on the target machine as well.
        if isinstance(value, str) and sys.base_prefix != "/usr":
            return value.replace(sys.base_prefix, PREFIX)
        return value

    known = runpy.run_path(str(path))["build_time_vars"]
    variables = {name: relocated(value) for name, value in known.items() if name[:4] != "abs_"}
    if wheels is not None:
        variables["WHEEL_PKG_DIR"] = f"{PREFIX}/{wheels}"
    text = VARIABLES.format(variables=pprint.pformat(variables), prefix=PREFIX)
    path.write_text(text)


def _build_executable(folder: Path) -> None:
    """Builds an executable that shares Caddy's libpython: the original may be linked statically, as
    Debian's is."""
    folder.mkdir(exist_ok=True)
    compiler = shlex.split(os.environ.get("CC", "gcc"))
    flags = [*python_flags.cflags(), "-O2", str(HERE / "python.c"), "-o", str(folder / NAME)]
    elf.run(*compiler, *flags, *python_flags.libs("python3-embed"))
    (folder / "python3").symlink_to(NAME)


def install_pip(target: Path, library: Path) -> None:
    """Installs pip for the copied interpreter, which must be able to run."""
    code = "import sysconfig; print(sysconfig.get_path('purelib'))"
    packages = elf.run(target / "bin" / NAME, "-IB", "-c", code).strip()
    (wheel,) = (library / "ensurepip" / "_bundled").glob("pip-*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(packages)
    script = target / "bin" / "pip"
    script.write_text(PIP)
    script.chmod(0o755)
    (target / "bin" / "pip3").symlink_to("pip")


def compile_modules(target: Path, library: Path) -> None:
    """Compiles the standard library to bytecode without timestamps and absolute paths."""
    options = ["-q", "-s", str(target), "--invalidation-mode", "unchecked-hash", str(library)]
    elf.run(target / "bin" / NAME, "-IB", "-m", "compileall", *options)
