"""Copies the Python that runs this to another place, where it works wherever that is moved."""

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

# What is not copied: files and folders anywhere in the standard library.
DROPPED = [
    # packages beside it, what the distribution has put there, and bytecode
    *("site-packages", "dist-packages", "EXTERNALLY-MANAGED", "sitecustomize.py", "__pycache__"),
    # tests and examples
    *("test", "tests", "idle_test", "_test*.so", "_ctypes_test.*", "_xxtestfuzz.*"),
    *("xxlimited*.so", "xxsubtype.*"),
    # what needs a display, a terminal with a person, or a compiler
    *("idlelib", "tkinter", "_tkinter.*", "turtle.py", "turtledemo", "pydoc_data", "ossaudiodev.*"),
    *("config-*", "*.a", "*.exe"),
    # modules of libraries under other licences (readline, gdbm: GPL; db), or that need much else
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
# What sysconfig knows of the build. This Python is not where it was built, but where you put it.
import sys

build_time_vars = {variables}
for name, value in build_time_vars.items():
    if isinstance(value, str):
        build_time_vars[name] = value.replace("{prefix}", sys.base_prefix)
"""


def copy(target: Path) -> Path:
    """Copies the interpreter and its standard library to `target`; returns the latter's folder.

    What they need of shared libraries is left to the caller.
    """
    source = Path(sysconfig.get_path("stdlib"))
    library = target / source.relative_to(sys.base_prefix)
    shutil.copytree(source, library, symlinks=True, ignore=shutil.ignore_patterns(*DROPPED))
    # Where Debian and Fedora keep the wheels that new environments get; elsewhere they are inside.
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
    """Takes the place of the build out of sysconfig's variables."""

    def relocated(value: object) -> object:
        # Much in /usr is not of Python, and is there on the other machine as well.
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
    """Python's own may be linked statically, as Debian's is; this one shares Caddy's libpython."""
    folder.mkdir(exist_ok=True)
    compiler = shlex.split(os.environ.get("CC", "gcc"))
    flags = [*python_flags.cflags(), "-O2", str(HERE / "python.c"), "-o", str(folder / NAME)]
    elf.run(*compiler, *flags, *python_flags.libs("python3-embed"))
    (folder / "python3").symlink_to(NAME)


def install_pip(target: Path, library: Path) -> None:
    """Unpacks pip for the interpreter itself, which must be able to run by now."""
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
    """Writes the bytecode of the standard library, in a form without times and folders."""
    options = ["-q", "-s", str(target), "--invalidation-mode", "unchecked-hash", str(library)]
    elf.run(target / "bin" / NAME, "-IB", "-m", "compileall", *options)
