"""A WSGI app that needs nothing but the standard library, and says which Python it has."""

from __future__ import annotations

import json
import multiprocessing
import os
import ssl
import subprocess
import sys
from collections.abc import Callable, Iterable
from typing import Any


def prefix(_: int) -> str:
    return sys.prefix


def app(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    command = [sys.executable, "-c", "import sys; print(sys.prefix)"]
    prefixes = {"subprocess": subprocess.check_output(command, text=True).strip()}
    for method in ("spawn", "forkserver", "fork"):
        with multiprocessing.get_context(method).Pool(1) as pool:
            [prefixes[method]] = pool.map(prefix, [0])
    report = {
        "executable": sys.executable,
        "prefix": sys.prefix,
        "os": os.__file__,
        "ssl": ssl.OPENSSL_VERSION,
        "of_children": prefixes,
    }
    start_response("200 OK", [("Content-Type", "application/json")])
    return [json.dumps(report).encode()]
