"""Programs of Debian's that serve on a loopback port: a test starts one, and ends it."""

from __future__ import annotations

import shutil
import socket
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from harness.ports import HOST
from harness.waiting import wait_for


def program(name: str, package: str) -> str:
    """The path of a program, which a package of Debian's has."""
    found = shutil.which(name)
    assert found is not None, f"{name} is missing: apt-get install {package}"
    return found


def free_port() -> int:
    """For a program that can't share a port with its holder, as Caddy can (see `Ports`)."""
    with socket.create_server((HOST, 0)) as listener:
        return int(listener.getsockname()[1])


@contextmanager
def daemon(command: Sequence[str], port: int, folder: Path) -> Iterator[None]:
    """Runs a program while the block does; it accepts connections when the block begins."""
    log = folder / f"{Path(command[0]).name}.log"
    with (
        log.open("wb") as output,
        subprocess.Popen(
            command, cwd=folder, stdin=subprocess.DEVNULL, stdout=output, stderr=output
        ) as process,
    ):
        try:

            def accepts() -> bool:
                assert process.poll() is None, log.read_text()
                try:
                    socket.create_connection((HOST, port), 1).close()
                except OSError:
                    return False
                return True

            wait_for(accepts, lambda: log.read_text(), 60)
            yield
        finally:
            process.terminate()
            process.wait(60)
