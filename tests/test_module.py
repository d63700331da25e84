"""The second build shape: Caddy as an extension module, inside the python that imports it."""

from __future__ import annotations

import sys

from harness.caddyfile import wsgi
from harness.plugin import Serve
from harness.settings import REPOSITORY

MODULE = REPOSITORY / "bin" / "_caddy.abi3.so"
# What the wheel's console script will do.
MAIN = (
    f"import sys; sys.path.insert(0, {str(MODULE.parent)!r}); import _caddy; _caddy.main(sys.argv)"
)


def test_the_module_serves_both_interfaces_and_stops_on_sigterm(serve: Serve) -> None:
    """The harness asks the canary's WSGI and ASGI apps after the test, and stops the server."""
    server = serve('respond "up"', launcher=(sys.executable, "-c", MAIN))
    assert server.get("/").text == "up"


def test_a_broken_app_is_refused_with_its_traceback(unstarted: Serve) -> None:
    server = unstarted(wsgi("absent_module:app"), launcher=(sys.executable, "-c", MAIN))
    assert "No module named 'absent_module'" in server.run_in_vain()
