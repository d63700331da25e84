"""A command in a Debian root with its own process table and network, as in a container."""

from __future__ import annotations

import os
import signal
import subprocess
from contextlib import suppress
from pathlib import Path
from typing import Any

from harness import proc
from harness.python_server import problems_in
from harness.roots import Root
from harness.waiting import wait_for

DEADLINE = 60.0
FETCH = (
    "import sys, urllib.error, urllib.request\n"
    "try: answer = urllib.request.urlopen(sys.argv[1], timeout=5)\n"
    "except urllib.error.HTTPError as error: answer = error\n"
    "print(answer.status, answer.read().decode())"
)


class Container:
    """Runs while the block does. Its ports are its own, so they may be any."""

    def __init__(self, root: Root, directory: Path, *arguments: str, **options: Any) -> None:
        """`options` are those of `Root.command`; the output goes to a file in `directory`."""
        self._command = root.command(*arguments, alone=True, **options)
        self._output = directory / "container.log"
        self._process: subprocess.Popen[bytes] | None = None
        self._first = 0

    def __enter__(self) -> Container:
        with self._output.open("wb") as output:
            self._process = subprocess.Popen(
                self._command, stdin=subprocess.DEVNULL, stdout=output, stderr=output
            )
        (self._first,) = wait_for(lambda: proc.children(self._process.pid), "the first process")
        return self

    def __exit__(self, *_: object) -> None:
        assert self._process is not None
        # The rest goes with the first process, which `unshare --kill-child` loses sight of if it
        # changes its user.
        if self.is_running:
            with suppress(ProcessLookupError):
                os.kill(self._first, signal.SIGKILL)
        self._process.wait()

    @property
    def output(self) -> str:
        return self._output.read_text()

    @property
    def is_running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def attempt(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Runs another command in it, with the variables and as the user of the first."""
        target = ["--target", str(self._first), "--mount", "--pid", "--net", "--root", "--wd"]
        status = Path(f"/proc/{self._first}")
        owner = status.stat()
        user = [f"--setuid={owner.st_uid}", f"--setgid={owner.st_gid}"]
        variables = (status / "environ").read_bytes().split(b"\0")
        return subprocess.run(
            ["nsenter", *target, *user, *arguments],
            env=dict(line.split(b"=", 1) for line in variables if line),
            capture_output=True,
            text=True,
            timeout=DEADLINE,
        )

    def get(self, url: str) -> tuple[int, str] | None:
        """Status and body of an answer, or None if there is none (yet)."""
        done = self.attempt("/usr/bin/python3", "-c", FETCH, url)
        if done.returncode != 0:
            return None
        status, _, body = done.stdout.partition(" ")
        return int(status), body[:-1]

    def wait_for(self, url: str) -> str:
        """The body of the first answer with status 200."""

        def body() -> str | None:
            assert self.is_running, self.output
            answer = self.get(url)
            return answer[1] if answer and answer[0] == 200 else None

        return wait_for(body, lambda: f"{url}\n{self.output}", DEADLINE)

    def stop(self) -> None:
        """Sends SIGTERM to the first process, which must end with code 0 and without problems."""
        assert self._process is not None
        os.kill(self._first, signal.SIGTERM)
        assert self._process.wait(DEADLINE) == 0, self.output
        assert problems_in(self.output) == []
