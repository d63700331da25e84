"""The console script `caddysnake`: all of Caddy inside the Python process that runs this.

Part of the wheel only. The server itself is the extension module beside this file.
"""

from __future__ import annotations

import os
import shutil
import sys
import sysconfig
from types import ModuleType

_PACKAGE = __name__.partition(".")[0]


def _script() -> str:
    """What `caddysnake start` executes: the console script, however this was started."""
    started = sys.argv[0]
    if os.path.basename(started) != "__main__.py" and os.access(started, os.X_OK):
        return os.path.abspath(started)
    for directory in (os.path.dirname(sys.executable), sysconfig.get_path("scripts")):
        script = os.path.join(directory, "caddysnake")
        if os.access(script, os.X_OK):
            return script
    return shutil.which("caddysnake") or started


def _forget_ourselves() -> None:
    """Leaves the interpreter as it would be inside the linked executable."""
    # multiprocessing's children import what __main__ is: a script that needs this package, which
    # an application's own virtual environment does not have.
    sys.modules["__main__"] = ModuleType("__main__")
    # The server has its own copy of the package.
    for name in [name for name in sys.modules if name.partition(".")[0] == _PACKAGE]:
        del sys.modules[name]
    # The directory of the script, or the current one with -m, has no packages of applications.
    if not getattr(sys.flags, "safe_path", False):
        del sys.path[0]


def main() -> None:
    """Runs Caddy's command line with the arguments of the process, and ends the process."""
    if sysconfig.get_config_var("Py_GIL_DISABLED"):
        sys.exit("caddysnake: free-threaded builds of Python are not supported")
    arguments = [_script(), *sys.argv[1:]]
    from caddysnake_py import _caddy  # not earlier: loading it starts Go's threads

    _forget_ourselves()
    _caddy.main(arguments)
