"""Apps that are asked in Python: each says what an expression gives among its globals."""

from __future__ import annotations

import ast
from pathlib import Path
from typing import Any

from harness import http1
from harness.caddyfile import python
from harness.server import Server
from harness.tenants import write

# An app that says what an expression gives, in a request.
ASKED = """
from urllib.parse import unquote

{imports}

def app(environ, start_response):
    start_response("200 OK", [])
    return [repr(eval(unquote(environ["QUERY_STRING"]))).encode()]
"""


def site(
    folder: Path,
    imports: str = "",
    *options: str,
    venv: Path | None = None,
    files: dict[str, str] | None = None,
    target: str = "main:app",
) -> str:
    """A `python` block for an app in a folder of its own."""
    module = target.partition(":")[0].replace(".", "/")
    write(folder, {f"{module}.py": ASKED.format(imports=imports), **(files or {})})
    return python(target, *options, folder=folder, venv=venv)


def ask(server: Server, expression: str) -> list[Any]:
    """What the expression gives in each of the server's apps."""
    found = []
    for port in server.ports:
        response = http1.request(port, "GET", "/?" + expression.replace(" ", "%20"))
        assert response.status == 200, server.tail()[-3000:]
        found.append(ast.literal_eval(response.text))
    return found
