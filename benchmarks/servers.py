"""Server processes: free ports, start, readiness, stop. targets.py has the commands."""

import http.client
import os
import signal
import socket
import subprocess
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType

START_TIMEOUT = 60.0
STOP_TIMEOUT = 10.0
POLL = 0.05
LOG_TAIL = 30  # lines shown of a server that failed


class ServerError(Exception):
    """A server did not start, ended, or gave an unexpected answer."""


def free_ports(count: int) -> list[int]:
    """Return distinct loopback ports without a listener."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    try:
        return [s.getsockname()[1] for s in sockets]
    finally:
        for s in sockets:
            s.close()


class Server:
    """A server process with its output in a file; a context manager that stops it."""

    def __init__(
        self, name: str, command: Sequence[str], cwd: Path, env: Mapping[str, str], log: Path
    ) -> None:
        self.name = name
        self._log = log
        with log.open("wb") as out:
            # In its own process group, so that stop() can end workers that outlive the server.
            self._process = subprocess.Popen(
                command,
                cwd=cwd,
                env=env,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    @property
    def pid(self) -> int:
        return self._process.pid

    def __enter__(self) -> "Server":
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()

    def wait_ready(self, port: int, body: bytes) -> None:
        """Return once GET / on the port answers 200 with this body."""
        deadline = time.monotonic() + START_TIMEOUT
        while (problem := _unready(port, body)) is not None:
            self.check_running()
            if time.monotonic() > deadline:
                raise self.failure(f"not ready on port {port}: {problem}")
            time.sleep(POLL)

    def check_running(self) -> None:
        """Raise ServerError if the process has ended."""
        if self._process.poll() is not None:
            raise self.failure(f"exited with code {self._process.returncode}")

    def failure(self, what: str) -> ServerError:
        """Return an error about this server that includes the end of its log."""
        tail = self._log.read_text(errors="replace").splitlines()[-LOG_TAIL:]
        return ServerError("\n".join([f"{self.name}: {what}", *tail]))

    def stop(self) -> None:
        """Terminate the process, and kill the remaining processes of its group."""
        self._process.terminate()
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(STOP_TIMEOUT)
        with suppress(ProcessLookupError):  # the usual case: no process remains
            os.killpg(self.pid, signal.SIGKILL)
        self._process.wait()


def _unready(port: int, body: bytes) -> str | None:
    """Return why the port does not give the expected answer yet, or None."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request("GET", "/")
        response = connection.getresponse()
        answer = response.read()
    except (OSError, http.client.HTTPException) as error:
        return repr(error)
    finally:
        connection.close()
    if response.status != 200 or answer != body:
        return f"HTTP {response.status} {answer[:80]!r}"
    return None
