"""An app whose files a test edits while it is served with `autoreload`."""

from __future__ import annotations

import os
from pathlib import Path

from harness.caddyfile import python
from harness.log import Record
from harness.server import Server
from harness.settings import VENV
from harness.waiting import wait_for

WSGI = """
VERSION = {version!r}


def app(environ, start_response):
    start_response("200 OK", [("X-Version", VERSION)])
    return [VERSION.encode()]
"""

ASGI = """
VERSION = {version!r}


async def app(scope, receive, send):
    headers = [(b"x-version", VERSION.encode())]
    await send({{"type": "http.response.start", "status": 200, "headers": headers}})
    await send({{"type": "http.response.body", "body": VERSION.encode()}})
"""

# As soon as it is still for a moment, so that tests don't wait.
EAGER = ("debounce 50ms",)
RELOADED = r"^python app reloaded$"
FAILED = r"^reloading python app failed"


def put(path: Path, text: str) -> None:
    """Writes a file that nobody ever sees a part of, however long the test is held up meanwhile."""
    new = path.with_name(f"{path.name}.new")
    new.write_text(text)
    os.replace(new, path)


class Source:
    """A working directory with the module `edited`."""

    def __init__(self, folder: Path, template: str = WSGI) -> None:
        self.folder = folder
        self.template = template
        folder.mkdir(parents=True, exist_ok=True)
        self.write("1")

    @property
    def main(self) -> Path:
        return self.folder / "edited.py"

    def code(self, version: str) -> str:
        return self.template.format(version=version)

    def write(self, version: str) -> None:
        put(self.main, self.code(version))

    def block(
        self,
        *options: str,
        autoreload: tuple[str, ...] | None = EAGER,
        folder: str = "",
        venv: Path = VENV,
    ) -> str:
        """A `python` block; `autoreload` are the lines of that option (None: without it)."""
        if autoreload is not None:
            inside = "".join(f"        {line}\n" for line in autoreload)
            options = (f"autoreload {{\n{inside}    }}", *options)
        return python(
            "edited:app",
            *options,
            interface="module_asgi" if "async def app" in self.template else "module_wsgi",
            folder=folder or self.folder,
            venv=venv,
        )


def reloads(server: Server, pattern: str = RELOADED) -> list[Record]:
    return server.log.find(pattern)


def await_reloads(server: Server, count: int, pattern: str = RELOADED) -> Record:
    """The record of the reload with this number."""
    wait_for(
        lambda: len(reloads(server, pattern)) >= count,
        lambda: f"reload {count}; there were {len(reloads(server, pattern))}",
        20,
    )
    return reloads(server, pattern)[count - 1]


def await_version(server: Server, version: str, target: str = "/") -> None:
    """Waits until requests are answered by the version."""
    wait_for(
        lambda: server.get(target).text == version,
        lambda: f"version {version}; it is {server.get(target).text}",
        20,
    )
