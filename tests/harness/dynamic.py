"""Tenants of one block with placeholders: their folders, the block, and requests to their hosts."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

from harness.board import Board
from harness.http1 import Connection, Response
from harness.server import Server
from harness.settings import APPS
from harness.tenants import write

INTERFACES = ["wsgi", "asgi"]
LABEL = "{http.request.host.labels.2}"


class Tenants:
    """Folders below `root`, each with the same `main.py` in it; their notes are on the board."""

    def __init__(self, root: Path, board: Board, interface: str, *names: str) -> None:
        self.root = root
        self.board = board
        self.interface = interface
        root.mkdir(exist_ok=True)
        self.add(*names)

    def add(self, *names: str) -> None:
        for name in names:
            folder = self.root / name
            folder.mkdir()
            shutil.copy(APPS / "dynamic" / "common.py", folder)
            shutil.copy(APPS / "dynamic" / f"{self.interface}_main.py", folder / "main.py")

    def add_broken(self, name: str, code: str) -> None:
        """One whose module notes its import and then runs this code."""
        self.add(name)
        start = "from common import note, while_importing\nwhile_importing()\n"
        write(self.root / name, {"main.py": f"{start}{code}\n"})

    def block(
        self, *options: str, target: str = "main:app", working_dir: str = LABEL, matcher: str = ""
    ) -> str:
        lines = [
            f'module_{self.interface} "{target}"',
            f'working_dir "{self.root}/{working_dir}"',
            f"env_var NOTES {self.board.folder}",
            *options,
        ]
        inside = "\n".join(f"    {line}" for line in lines)
        return f"python {matcher} {{\n{inside}\n}}"

    # Making them wait

    def stop(self, what: str, name: str) -> None:
        """Lets an app's `import` or `request` wait."""
        self.board.post(f"block-{what}-{name}")

    def go(self, what: str, name: str) -> None:
        (self.board.folder / f"block-{what}-{name}").unlink()

    def noted(self, event: str, name: str | None = None) -> int:
        """How often it was noted, by one app or by all."""
        return len([line for line in self.board.lines(event) if name in (None, line)])


def host(name: str) -> str:
    return f"{name}.example.com"


def send(
    server: Server, authority: str, target: str = "/name", headers: Sequence[str] = ()
) -> Connection:
    """A connection on which a request for this host was sent; an unusual one if need be."""
    connection = server.connect()
    lines = [f"GET {target} HTTP/1.1", f"Host: {authority}", *headers, "", ""]
    connection.send("\r\n".join(lines).encode())
    return connection


def ask(
    server: Server, authority: str, target: str = "/name", headers: Sequence[str] = ()
) -> Response:
    with send(server, authority, target, headers) as connection:
        return connection.response()


def ask_tenant(server: Server, name: str, target: str = "/name") -> Response:
    return ask(server, host(name), target)


def text(server: Server, name: str, target: str = "/name") -> str:
    answer = ask_tenant(server, name, target)
    assert (answer.status, answer.broken) == (200, None), answer
    return answer.text
