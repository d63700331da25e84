"""Where things are: the binary under test, the environments of apps and tools, the test apps."""

from __future__ import annotations

import os
import sys
from pathlib import Path

TESTS = Path(__file__).resolve().parent.parent
REPOSITORY = TESTS.parent
APPS = TESTS / "apps"
CANARY = APPS / "canary"

BINARY = Path(os.environ.get("CADDYSNAKE_BIN", REPOSITORY / "bin" / "caddy"))
VENV = Path(os.environ.get("CADDYSNAKE_VENV", sys.prefix))
# Where `tests/autobahn/install` has put the Autobahn test suite.
AUTOBAHN = Path(os.environ.get("CADDYSNAKE_AUTOBAHN", REPOSITORY / ".tools" / "autobahn"))

# Where the apps of the test sites run: "process", which is Caddy's, or "workers".
HOME = os.environ.get("CADDYSNAKE_HOME", "process")

# The machine that runs the server, if that is emulated; and how many times as long a server may
# then take for what must happen soon.
EMULATED = os.environ.get("CADDYSNAKE_EMULATED")
PATIENCE = 8 if EMULATED else 1
