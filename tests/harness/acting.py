"""Applications that are a few lines of a test: sites whose answers a function of theirs returns."""

from __future__ import annotations

import textwrap
from pathlib import Path

from harness import http1
from harness.caddyfile import python
from harness.server import Server

HEAD = "import logging, os, sys, threading, warnings\n"
APP = """
def app(environ, start_response):
    answer = look(environ["PATH_INFO"])
    start_response("200 OK", [("Content-Type", "text/plain; charset=utf-8")])
    return [str(answer).encode()]
"""


def site(folder: Path, name: str, code: str, *options: str) -> str:
    """A site whose answers are what the function `look` of the code returns."""
    (folder / name).mkdir(exist_ok=True)
    (folder / name / f"{name}.py").write_text(HEAD + textwrap.dedent(code) + APP)
    return python(f"{name}:app", *options, folder=folder / name)


def ask(server: Server, site: int, path: str = "/") -> str:
    response = http1.request(server.ports[site], "GET", path, timeout=20)
    assert response.status == 200, response.text
    return response.text
