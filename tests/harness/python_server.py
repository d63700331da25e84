"""A `python-server` process: what it prints, and how it ends."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from harness.log import BAD_LEVELS, BAD_WORDS, Record
from harness.ports import Ports
from harness.server import environment
from harness.settings import BINARY
from harness.waiting import wait_for

GREETING = " serves "
DEADLINE = 60.0


def problems_in(output: str) -> list[str]:
    """Lines that a server should not have printed."""
    return [
        line
        for line in output.splitlines()
        if BAD_WORDS.search(line) or Record.parse(line).level in BAD_LEVELS
    ]


class PythonServer:
    """Serves on a port of its own; a context manager that ends the process."""

    def __init__(
        self,
        directory: Path,
        *arguments: str,
        cwd: Path,
        launcher: Sequence[str] = (str(BINARY),),
        env: Mapping[str, str] | None = None,
    ) -> None:
        self._ports = Ports()
        self.port = self._ports.take()
        self._output = directory / "output"
        self._command = [*launcher, *arguments, "--listen", f"127.0.0.1:{self.port}"]
        self._env = environment(directory / "home", env or {})
        self._cwd = cwd
        self.process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> PythonServer:
        with self._output.open("wb") as output:
            self.process = subprocess.Popen(
                self._command,
                cwd=self._cwd,
                env=self._env,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
            )
        wait_for(
            lambda: GREETING in self.output or self.process.poll() is not None,
            lambda: f"the greeting\n{self.output}",
            DEADLINE,
        )
        assert self.process.poll() is None, self.output
        return self

    def __exit__(self, *_: object) -> None:
        assert self.process is not None
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        self._ports.release()

    @property
    def output(self) -> str:
        return self._output.read_text()

    @property
    def greeting(self) -> str:
        """The line that says what is served, where, and by what."""
        return next(line for line in self.output.splitlines() if GREETING in line)

    def stop(self) -> None:
        """Sends SIGTERM; the process must end by itself, with exit code 0 and without problems."""
        assert self.process is not None
        self.process.terminate()
        assert self.wait() == 0, self.output
        assert problems_in(self.output) == []

    def interrupt(self) -> None:
        """What Ctrl-C does."""
        assert self.process is not None
        self.process.send_signal(signal.SIGINT)

    def wait(self) -> int:
        assert self.process is not None
        return self.process.wait(DEADLINE)


def run_in_vain(
    *arguments: str,
    cwd: Path,
    launcher: Sequence[str] = (str(BINARY),),
    env: Mapping[str, str] | None = None,
) -> str:
    """A command that must be refused; what it says on stderr apart from Caddy's log."""
    done = subprocess.run(
        [*launcher, *arguments],
        cwd=cwd,
        env={**os.environ, **(env or {})},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=DEADLINE,
    )
    assert done.returncode == 1, done
    lines = done.stderr.splitlines(keepends=True)
    return "".join(line for line in lines if not line.startswith('{"level"'))
