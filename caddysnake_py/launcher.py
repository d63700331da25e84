"""The console script `caddysnake`: runs Caddy inside this Python process.

Part of the wheel only. The server itself is the extension module `_caddy` next to this file.
"""

from __future__ import annotations

import os
import shutil
import sys
import sysconfig
from types import ModuleType

_PACKAGE = __name__.partition(".")[0]


def _script() -> str:
    """Returns the path that `caddysnake start` executes: the console script, even if this process
    was started by `python -m`."""
    started = sys.argv[0]
    if os.path.basename(started) != "__main__.py" and os.access(started, os.X_OK):
        return os.path.abspath(started)
    for directory in (os.path.dirname(sys.executable), sysconfig.get_path("scripts")):
        script = os.path.join(directory, "caddysnake")
        if os.access(script, os.X_OK):
            return script
    return shutil.which("caddysnake") or started


def _forget_ourselves() -> None:
    """Puts the interpreter into the state that it has inside the linked executable."""
    # multiprocessing's children import __main__: here a script that imports this package, which is
    # missing in the virtual environments of applications.
    sys.modules["__main__"] = ModuleType("__main__")
    # The server has an embedded copy of the package.
    for name in [name for name in sys.modules if name.partition(".")[0] == _PACKAGE]:
        del sys.modules[name]
    # sys.path[0] is the script's directory, or the current one with -m: not one of applications.
    if not getattr(sys.flags, "safe_path", False):
        del sys.path[0]


def main() -> None:
    """Runs Caddy's command line with the arguments of the process, then exits the process."""
    if sysconfig.get_config_var("Py_GIL_DISABLED"):
        sys.exit("caddysnake: free-threaded builds of Python are not supported")
    arguments = [_script(), *sys.argv[1:]]
    from caddysnake_py import _caddy  # as late as possible: loading it starts Go's threads

    worker = os.path.join(os.path.dirname(_caddy.__file__), "_worker.abi3.so")
    _forget_ourselves()
    _caddy.main(arguments, sys.executable, worker)
