"""The end of the process while applications load, and with several that take their time."""

from __future__ import annotations

import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from harness import http1
from harness.board import Board
from harness.caddyfile import asgi, wsgi
from harness.plugin import Serve
from harness.ports import Ports
from harness.settings import BINARY

ENDLESS = """
    import pathlib, time

    pathlib.Path({note!r}).touch()
    while True:
        time.sleep(0.01)
"""

# Its shutdown is over when that of all others has begun.
MEETING = """
    import asyncio, pathlib

    notes = pathlib.Path({notes!r})

    async def app(scope, receive, send):
        assert scope["type"] == "lifespan"
        await receive()
        await send({{"type": "lifespan.startup.complete"}})
        await receive()
        (notes / {name!r}).touch()
        while len(list(notes.iterdir())) < {count}:
            await asyncio.sleep(0.01)
        await send({{"type": "lifespan.shutdown.complete"}})
"""


def write(folder: Path, code: str, **values: object) -> Path:
    folder.mkdir()
    (folder / "main.py").write_text(textwrap.dedent(code.format(**values)))
    return folder


@pytest.mark.conformance("T11")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_python_server_while_the_app_loads(
    tmp_path: Path, board: Board, number: signal.Signals
) -> None:
    folder = write(tmp_path / "app", ENDLESS, note=str(board.folder / "importing"))
    ports = Ports()
    process = subprocess.Popen(
        [BINARY, "main:app", "--listen", f"127.0.0.1:{ports.take()}", "--venv", sys.prefix],
        cwd=folder,
        stdin=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        board.wait_for_file("importing")
        process.send_signal(number)
        assert process.wait(15) == 0
    finally:
        process.kill()
        process.wait()
        ports.release()


@pytest.mark.conformance("T11")
def test_a_running_server_ends_while_a_new_app_loads(
    serve: Serve, tmp_path: Path, board: Board
) -> None:
    server = serve(wsgi("wsgi_response:app"), probe="/hello")
    server.allow_log("the server is stopping")
    folder = write(tmp_path / "app", ENDLESS, note=str(board.folder / "importing"))
    text = server.write(wsgi("main:app", "start_timeout forever", folder=folder)).read_bytes()
    with http1.Connection(server.admin) as connection:
        connection.request("POST", "/load", [("Content-Type", "text/caddyfile")], text)
        board.wait_for_file("importing")
        server.stop(15)


@pytest.mark.conformance("T11")
def test_apps_shut_down_side_by_side(serve: Serve, tmp_path: Path, board: Board) -> None:
    names = ["one", "two", "three"]
    notes = str(board.folder)
    folders = [
        write(tmp_path / name, MEETING, notes=notes, name=name, count=len(names)) for name in names
    ]
    server = serve(*(asgi("main:app", "lifespan on", folder=folder) for folder in folders))
    server.stop()
    assert sorted(path.name for path in board.folder.iterdir()) == sorted(names)
