"""One running server: its Caddyfile, process, log and admin endpoint."""

from __future__ import annotations

import json
import os
import signal
import ssl
import subprocess
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import IO, Any

from harness import http1
from harness.caddyfile import caddyfile, canary_site
from harness.health import Health, Slack
from harness.http1 import Header
from harness.http2 import Connection2
from harness.http3 import Connection3
from harness.log import Expectation, Log
from harness.ports import HOST, Ports, await_reloaded
from harness.settings import BINARY, PATIENCE
from harness.waiting import wait_for

START_DEADLINE = 60.0
STOP_DEADLINE = 20.0

# Logged by Caddy once the first configuration is loaded and its listeners accept.
READY = r"^serving initial configuration$"
# What Caddy's own log says of a request whose app failed before the head of its answer.
FAILED_REQUEST = r"python application failed"


def environment(home: Path, extra: Mapping[str, str]) -> dict[str, str]:
    """Ours, without what steers Python or pytest, and with a home of the server's own."""
    ours = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("PYTEST_", "PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV", "XDG_"))
    }
    folders = {
        "HOME": str(home),
        "XDG_CONFIG_HOME": str(home / "config"),
        "XDG_DATA_HOME": str(home / "data"),
    }
    return {**ours, **folders, **extra}


class Server:
    """A Caddy with one site per body, each on a port of its own, and usually the canary site."""

    def __init__(
        self,
        directory: Path,
        bodies: Sequence[str],
        *,
        tls: bool = False,
        canary: bool = True,
        options: Sequence[str] = (),
        servers: Sequence[str] = (),
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
        probe: str | None = None,
        slack: Slack | None = None,
        launcher: Sequence[str] = (str(BINARY),),
    ) -> None:
        self._launcher = launcher
        self.cwd = cwd or directory
        self.tls = tls
        self.options = options
        self.servers = servers
        self.probe = probe
        self.has_canary = canary
        self.process: subprocess.Popen[bytes] | None = None
        self._reserved = Ports()
        self.admin = self._reserved.take()
        self.ports = [self._reserved.take() for _ in bodies]
        self.canary = self._reserved.take()
        self._env = environment(directory / "home", env or {})
        self._caddyfile = directory / "Caddyfile"
        self._stderr = directory / "caddy.log"
        self._stderr.touch()
        self.log = Log(self._stderr)
        self.health = Health(self, slack or Slack())
        self.write(*bodies)

    # Process

    @property
    def pid(self) -> int:
        assert self.process is not None, "the server was not started"
        return self.process.pid

    @property
    def port(self) -> int:
        return self.ports[0]

    @property
    def _listening(self) -> tuple[int, ...]:
        return (self.admin, self.canary, *self.ports)

    @property
    def is_running(self) -> bool:
        return self.process is not None and self.process.poll() is None

    def start(self) -> Server:
        """Starts the process and waits until it serves its configuration."""
        seen = len(self.log.read())
        with self._stderr.open("ab") as stderr:
            self.process = self._spawn(stderr)
        wait_for(
            lambda: self.log.find(READY, seen) or not self.is_running,
            lambda: f"the server to be ready\n{self.tail()}",
            START_DEADLINE,
        )
        assert self.is_running, f"the server ended while starting\n{self.tail()}"
        if self.tls:
            wait_for(self._has_certificate, "the certificate", START_DEADLINE)
        self.health.take_baseline()
        return self

    def stop(self, deadline: float = STOP_DEADLINE) -> None:
        """Sends SIGTERM; the process must end by itself, in time and with exit code 0."""
        if self.process is None:
            return
        process, self.process = self.process, None
        process.terminate()
        try:
            code = process.wait(deadline * PATIENCE)
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGABRT)  # Go writes its goroutines to the log.
            process.wait(deadline)
            raise AssertionError(f"not stopped after {deadline:g} s\n{self.tail()}") from None
        assert code == 0, f"exit code {code}\n{self.tail()}"

    def pause(self) -> None:
        """Holds the process until `resume`: all its threads have stopped when this returns."""
        assert self.process is not None
        self.process.send_signal(signal.SIGSTOP)
        os.waitid(os.P_PID, self.pid, os.WSTOPPED)

    def resume(self) -> None:
        assert self.process is not None
        self.process.send_signal(signal.SIGCONT)

    def revive(self) -> None:
        """Starts the server again after a crash that a test was already failed for."""
        self.process = None
        self.start()

    def dispose(self) -> None:
        """Stops the server, checks what it logged meanwhile, and gives its ports back."""
        try:
            self.stop()
            self.health.check_log()
        finally:
            self._reserved.release()

    def _has_certificate(self) -> bool:
        """Caddy makes it in the background, once it serves."""
        try:
            self.connect().close()
        except ssl.SSLError:
            return False
        return True

    def _spawn(self, stderr: IO[bytes]) -> subprocess.Popen[bytes]:
        command = ["run", "--config", str(self._caddyfile), "--adapter", "caddyfile"]
        return subprocess.Popen(
            [*self._launcher, *command],
            cwd=self.cwd,
            env=self._env,
            stdin=subprocess.DEVNULL,
            stdout=stderr,
            stderr=stderr,
        )

    # Configuration

    def write(self, *bodies: str) -> Path:
        """Writes the Caddyfile with these site bodies in place of the present ones."""
        assert len(bodies) == len(self.ports)
        sites = list(zip(self.ports, bodies, strict=True))
        if self.has_canary:
            sites.append((self.canary, canary_site()))
        tls = self.port if self.tls else None
        text = caddyfile(
            sites, admin=self.admin, tls=tls, options=self.options, servers=self.servers
        )
        return self.write_text(text)

    def write_text(self, text: str) -> Path:
        """Writes a whole Caddyfile, in which nothing is the harness's own."""
        self._caddyfile.write_text(text)
        return self._caddyfile

    def command(self, *arguments: str, deadline: float = 60.0) -> subprocess.CompletedProcess[str]:
        """Runs a caddy command to its end, in the server's working directory and environment."""
        return subprocess.run(
            [*self._launcher, *arguments],
            cwd=self.cwd,
            env=self._env,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=deadline,
        )

    def run_in_vain(self) -> str:
        """`caddy run` with a configuration that must be refused; what it says on stderr."""
        done = self.command("run", "--config", str(self._caddyfile), "--adapter", "caddyfile")
        assert done.returncode != 0
        return done.stderr

    def validate(self) -> subprocess.CompletedProcess[str]:
        return self.command("validate", "--config", str(self._caddyfile), "--adapter", "caddyfile")

    def reload(self, *bodies: str, force: bool = False) -> subprocess.CompletedProcess[str]:
        """`caddy reload` with new site bodies."""
        path = self.write(*bodies)
        address = f"{HOST}:{self.admin}"
        options = ["--force"] if force else []
        done = self.command(
            "reload",
            "--config",
            str(path),
            "--adapter",
            "caddyfile",
            "--address",
            address,
            *options,
        )
        await_reloaded(self._listening)
        return done

    def load(self, *bodies: str) -> http1.Response:
        """The same over the admin API: POST /load."""
        return self._load(self.write(*bodies).read_bytes(), "text/caddyfile")

    def configure(self, *bodies: str) -> Server:
        """Gives a server that tests share the sites of one test; those left over are empty."""
        answer = self.load(*bodies, *[""] * (len(self.ports) - len(bodies)))
        assert answer.status == 200, answer.text
        return self

    def force(self, *bodies: str) -> http1.Response:
        """What `caddy reload --force` does."""
        force = ("Cache-Control", "must-revalidate")
        return self._load(self.write(*bodies).read_bytes(), "text/caddyfile", force)

    def adapt(self) -> dict[str, Any]:
        """The present Caddyfile as JSON."""
        done = self.command("adapt", "--config", str(self._caddyfile), "--adapter", "caddyfile")
        assert done.returncode == 0, done.stderr
        config: dict[str, Any] = json.loads(done.stdout)
        return config

    def load_json(self, config: Any) -> http1.Response:
        """POST /load with a configuration in JSON."""
        return self._load(json.dumps(config).encode(), "application/json")

    def _load(self, body: bytes, kind: str, *headers: Header) -> http1.Response:
        given = [("Content-Type", kind), *headers]
        response = http1.request(self.admin, "POST", "/load", given, body, timeout=60)
        await_reloaded(self._listening)
        return response

    # Speaking to the first site

    def connect(self, **options: Any) -> http1.Connection:
        return http1.Connection(self.port, tls=self.tls, **options)

    def connect2(self, **options: Any) -> Connection2:
        return Connection2(self.port, tls=self.tls, **options)

    def connect3(self, **options: Any) -> Connection3:
        return Connection3(self.port, **options)

    def request(
        self,
        method: str,
        target: str,
        headers: Iterable[Header] = (),
        body: bytes | Iterable[bytes] | None = None,
        **options: Any,
    ) -> http1.Response:
        return http1.request(self.port, method, target, headers, body, tls=self.tls, **options)

    def get(self, target: str, headers: Iterable[Header] = (), **options: Any) -> http1.Response:
        return self.request("GET", target, headers, **options)

    # Expectations

    def expect_log(
        self,
        pattern: str,
        *,
        level: str | None = "error",
        logger: str | None = None,
        times: int | None = None,
    ) -> Expectation:
        """Declares records that this test causes; without them, or with more, it fails."""
        return self.health.expect(pattern, level, logger, times)

    def expect_app_log(self, pattern: str, times: int | None = 1) -> Expectation:
        """Error records of the app under test, as the plugin logs them."""
        return self.expect_log(pattern, logger="http.handlers.python", times=times)

    def expect_failure(self, pattern: str, times: int = 1) -> Expectation:
        """Requests whose app fails before its head: the plugin's record, and Caddy's for a 500."""
        self.expect_log(FAILED_REQUEST, times=times)
        return self.expect_app_log(pattern, times)

    def expect_failure_or_abort(self, pattern: str) -> Expectation:
        """The same where the head may already be out, so that Caddy has no 500 to log."""
        self.allow_log(FAILED_REQUEST)
        return self.expect_app_log(pattern, 1)

    def allow_log(self, pattern: str) -> Expectation:
        """Error records that may come or not."""
        return self.health.expect(pattern, "error", None, None, optional=True)

    def check(self) -> None:
        """Checks the server now instead of after the test; expectations then have their records."""
        self.health.check()

    def tail(self, start: int = 0) -> str:
        """The log for a person to read, its last 200 records at most."""
        return "\n".join(str(record) for record in self.log.read()[start:][-200:])
