"""Hosts of the test's own: network namespaces on one bridge, each with a Caddy, and a balancer."""

from __future__ import annotations

import signal
import subprocess
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType

from harness import http1
from harness.ports import Ports
from harness.server import environment
from harness.settings import BINARY
from harness.waiting import wait_for

NETWORK = "10.213.7"  # in the namespaces and on the bridge only
PORT = 8000
GLOBAL = "{{\n\tadmin {admin}\n\tauto_https off\n\tpersist_config off\n\tgrace_period 10s\n}}\n"


def run(*command: str) -> None:
    subprocess.run(command, check=True, timeout=30)


class Caddy:
    """A Caddy whose configuration is its own."""

    def __init__(self, folder: Path, sites: str, admin: str, prefix: Sequence[str] = ()) -> None:
        self.folder = folder
        self.admin = admin
        self._prefix = list(prefix)
        self._environment = environment(folder / "home", {})
        self._process: subprocess.Popen[bytes] | None = None
        folder.mkdir(exist_ok=True)
        self.write(sites)

    def write(self, sites: str) -> None:
        (self.folder / "Caddyfile").write_text(GLOBAL.format(admin=self.admin) + sites)

    @property
    def log(self) -> str:
        return (self.folder / "log").read_text()

    def start(self) -> None:
        command = [*self._prefix, str(BINARY), "run", "--config", str(self.folder / "Caddyfile")]
        with (self.folder / "log").open("ab") as log:
            seen = log.tell()
            self._process = subprocess.Popen(
                command,
                cwd=self.folder,
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stderr=log,
            )
        process = self._process
        wait_for(
            lambda: (
                "serving initial configuration" in self.log[seen:] or process.poll() is not None
            ),
            "the server to be ready",
            60,
        )
        assert process.poll() is None, self.log

    def command(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Runs a caddy command where the server runs."""
        return subprocess.run(
            [*self._prefix, str(BINARY), *arguments],
            cwd=self.folder,
            env=self._environment,
            capture_output=True,
            text=True,
            timeout=60,
        )

    def end(self, number: signal.Signals) -> int:
        """Sends a signal and returns the exit code."""
        assert self._process is not None
        process, self._process = self._process, None
        process.send_signal(number)
        return process.wait(30)

    @property
    def is_running(self) -> bool:
        return self._process is not None


class Hosts:
    """Hosts with one site each, and a balancer on this machine's loopback in front of them."""

    def __init__(self, folder: Path, sites: Sequence[str], balance: str) -> None:
        """`balance` is what the balancer's site is, without the addresses of the hosts."""
        self._folder = folder
        self._sites = sites
        self._balance = balance
        self._ports = Ports()
        self.port = self._ports.take()
        self.hosts: list[Caddy] = []
        self.balancer: Caddy | None = None

    def __enter__(self) -> Hosts:
        try:
            self._start()
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def _start(self) -> None:
        run("ip", "link", "add", "snake-bridge", "type", "bridge")
        run("ip", "address", "add", f"{NETWORK}.254/24", "dev", "snake-bridge")
        run("ip", "link", "set", "snake-bridge", "up")
        for number, site in enumerate(self._sites, 1):
            self.hosts.append(self._host(number, site))
        upstreams = " ".join(
            f"{NETWORK}.{number}:{PORT}" for number in range(1, len(self.hosts) + 1)
        )
        site = f"http://127.0.0.1:{self.port} {{\n\treverse_proxy {upstreams} {self._balance}\n}}\n"
        self.balancer = Caddy(self._folder / "balancer", site, f"127.0.0.1:{self._ports.take()}")
        self.balancer.start()

    def _host(self, number: int, site: str) -> Caddy:
        name = f"snake-{number}"
        run("ip", "netns", "add", name)
        run("ip", "link", "add", name, "type", "veth", "peer", "name", "eth0", "netns", name)
        run("ip", "link", "set", name, "up", "master", "snake-bridge")
        inside = ("ip", "netns", "exec", name)
        run(*inside, "ip", "address", "add", f"{NETWORK}.{number}/24", "dev", "eth0")
        for device in ("eth0", "lo"):
            run(*inside, "ip", "link", "set", device, "up")
        # The balancer passes the name on that its client has asked for.
        sites = f"http://:{PORT} {{\n{site}\n}}\n"
        host = Caddy(self._folder / name, sites, "127.0.0.1:2019", inside)
        host.start()
        return host

    def connect(self) -> http1.Connection:
        """A connection to the balancer."""
        return http1.Connection(self.port)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        for caddy in (*self.hosts, *filter(None, [self.balancer])):
            if caddy.is_running:
                caddy.end(signal.SIGTERM)
        for number in range(1, len(self._sites) + 1):
            subprocess.run(["ip", "netns", "del", f"snake-{number}"], capture_output=True)
        subprocess.run(["ip", "link", "del", "snake-bridge"], capture_output=True)
        self._ports.release()
