"""Prints the flags to compile and link against the running Python, in the form of pkg-config.

There are two packages: `python3-embed` links libpython, `caddysnake-python` only has the headers.
`--check` prints one line if a requirement to build against this Python is missing; `--id` prints a
short name that is unique to this installation.
"""

from __future__ import annotations

import shlex
import sys
import sysconfig
import zlib
from pathlib import Path

VERSION = "{}.{}".format(*sys.version_info)

# The dynamic loader's default search path.
SYSTEM_FOLDERS = ("/lib", "/lib64", "/usr/lib", "/usr/lib64")


def include_folders() -> list[str]:
    paths = sysconfig.get_paths()
    return list(dict.fromkeys([paths["include"], paths["platinclude"]]))


def libpython() -> Path | None:
    """Returns the path of the shared libpython, or None."""
    if not sysconfig.get_config_var("Py_ENABLE_SHARED"):
        return None
    name = str(sysconfig.get_config_var("LDLIBRARY"))
    # LIBDIR is outdated if this Python was moved after its build.
    for folder in (sysconfig.get_config_var("LIBDIR"), f"{sys.base_prefix}/lib"):
        if folder and Path(folder, name).is_file():
            return Path(folder, name)
    return None


def is_searched(folder: Path) -> bool:
    multiarch = sysconfig.get_config_var("MULTIARCH") or ""
    known = [Path(path, sub) for path in SYSTEM_FOLDERS for sub in ("", multiarch)]
    return folder.resolve() in [path.resolve() for path in known]


def cflags() -> list[str]:
    return [f"-I{folder}" for folder in include_folders()]


def libs(package: str) -> list[str]:
    library = libpython()
    if package != "python3-embed" or library is None:
        return []
    flags = [f"-L{library.parent}", f"-l{library.stem.removeprefix('lib')}"]
    if not is_searched(library.parent):
        flags.append(f"-Wl,-rpath,{library.parent}")
    return flags


def missing() -> str | None:
    """Returns why it is impossible to build against this Python, and the command that helps; None
    if it is possible."""
    python = sys.executable
    if sysconfig.get_config_var("Py_GIL_DISABLED"):
        return (
            f"{python} is free-threaded, which is not supported: choose another with make PYTHON="
        )
    if not sysconfig.get_config_var("Py_ENABLE_SHARED"):
        return (
            f"{python} has no shared libpython: apt-get install python3-dev and make"
            " PYTHON=/usr/bin/python3, or build it with --enable-shared, as in"
            f" PYTHON_CONFIGURE_OPTS=--enable-shared pyenv install {VERSION}"
        )
    headers = any(Path(folder, "Python.h").is_file() for folder in include_folders())
    if not headers or libpython() is None:
        what = "libpython" if headers else "headers (Python.h)"
        return (
            f"{python} has no {what}: apt-get install python{VERSION}-dev"
            f" (Fedora: dnf install python3-devel)"
        )
    return None


def identity() -> str:
    full_version = "{}.{}.{}".format(*sys.version_info)
    return f"python{full_version}-{zlib.crc32(sys.base_prefix.encode()):08x}"


def main(arguments: list[str]) -> str | None:
    """Prints the answer; returns an error message for `sys.exit`, or None."""
    if arguments == ["--check"]:
        return missing()
    if arguments == ["--id"]:
        print(identity())
        return None
    package = arguments[-1]
    if package not in ("python3-embed", "caddysnake-python"):
        return f"{package} is not a package that {sys.argv[0]} knows"
    print(shlex.join(cflags() if "--cflags" in arguments else libs(package)))
    return None


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
