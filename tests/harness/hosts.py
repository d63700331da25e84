"""Hosts of the test's own: network namespaces on one bridge, and a Caddy in each."""

from __future__ import annotations

import shutil
import signal
import socket
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from harness import http1
from harness.activation import activated
from harness.ports import Ports
from harness.server import environment
from harness.settings import BINARY
from harness.waiting import wait_for

NETWORK = "10.213.7"  # in the namespaces and on the bridge only
BRIDGE = "snake-bridge"
NAMES = Path("/etc/netns")  # `ip netns exec` shows its files in /etc
PORT = 8000
GLOBAL = "{{\n\tadmin {admin}\n{options}\tpersist_config off\n\tgrace_period 10s\n}}\n"


def run(*command: str) -> None:
    subprocess.run(command, check=True, timeout=30)


class Caddy:
    """A Caddy whose configuration is its own."""

    def __init__(
        self,
        folder: Path,
        sites: str,
        admin: str,
        prefix: Sequence[str] = (),
        options: str = "\tauto_https off\n",
        sockets: Sequence[socket.socket] = (),
    ) -> None:
        """`options` are global ones, besides those that each has; `sockets` as from systemd."""
        self.folder = folder
        self.admin = admin
        self._prefix = list(prefix)
        self._options = options
        self._sockets = sockets
        self._environment = environment(folder / "home", {})
        self._process: subprocess.Popen[bytes] | None = None
        folder.mkdir(exist_ok=True)
        self.write(sites)

    def write(self, sites: str) -> None:
        (self.folder / "Caddyfile").write_text(
            GLOBAL.format(admin=self.admin, options=self._options) + sites
        )

    @property
    def log(self) -> str:
        return (self.folder / "log").read_text()

    def start(self) -> None:
        command = [*self._prefix, str(BINARY), "run", "--config", str(self.folder / "Caddyfile")]
        with (self.folder / "log").open("ab") as log:
            seen = log.tell()
            self._process = subprocess.Popen(
                **(activated(command, self._sockets) if self._sockets else {"args": command}),
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

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def send(self, number: signal.Signals) -> None:
        assert self._process is not None
        self._process.send_signal(number)

    def end(self, number: signal.Signals) -> int:
        """Sends a signal and returns the exit code."""
        assert self._process is not None
        process, self._process = self._process, None
        process.send_signal(number)
        return process.wait(30)

    @property
    def is_running(self) -> bool:
        return self._process is not None


class Network:
    """A bridge of this machine's, and hosts: network namespaces that reach it and each other."""

    def __init__(self) -> None:
        self._hosts: list[str] = []

    def __enter__(self) -> Network:
        run("ip", "link", "add", BRIDGE, "type", "bridge")
        run("ip", "address", "add", f"{NETWORK}.254/24", "dev", BRIDGE)
        run("ip", "link", "set", BRIDGE, "up")
        return self

    def add(self, names: Mapping[str, Sequence[str]] | None = None) -> tuple[str, tuple[str, ...]]:
        """A new host that knows the addresses of these names: its own address, and the beginning
        of a command that is to run there."""
        number = len(self._hosts) + 1
        name, address = f"snake-{number}", f"{NETWORK}.{number}"
        run("ip", "netns", "add", name)
        self._hosts.append(name)
        run("ip", "link", "add", name, "type", "veth", "peer", "name", "eth0", "netns", name)
        run("ip", "link", "set", name, "up", "master", BRIDGE)
        inside = ("ip", "netns", "exec", name)
        run(*inside, "ip", "address", "add", f"{address}/24", "dev", "eth0")
        for device in ("eth0", "lo"):
            run(*inside, "ip", "link", "set", device, "up")
        if names:
            (NAMES / name).mkdir(parents=True)
            lines = [f"{at} {each}\n" for each, all in names.items() for at in all]
            (NAMES / name / "hosts").write_text("".join(["127.0.0.1 localhost\n", *lines]))
        return address, inside

    def __exit__(self, *_: object) -> None:
        for name in self._hosts:
            # The namespace itself may end later, and its devices with it.
            for what in ("link", "netns"):
                subprocess.run(["ip", what, "del", name], capture_output=True)
            shutil.rmtree(NAMES / name, ignore_errors=True)
        subprocess.run(["ip", "link", "del", BRIDGE], capture_output=True)


class Hosts:
    """Hosts with one site each, and a balancer on this machine's loopback in front of them."""

    def __init__(self, folder: Path, sites: Sequence[str], balance: str) -> None:
        """`balance` is what the balancer's site is, without the addresses of the hosts."""
        self._folder = folder
        self._sites = sites
        self._balance = balance
        self._ports = Ports()
        self._network = Network()
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
        self._network.__enter__()
        upstreams = []
        for number, site in enumerate(self._sites, 1):
            address, inside = self._network.add()
            upstreams.append(f"{address}:{PORT}")
            # The balancer passes the name on that its client has asked for.
            sites = f"http://:{PORT} {{\n{site}\n}}\n"
            host = Caddy(self._folder / f"host-{number}", sites, "127.0.0.1:2019", inside)
            self.hosts.append(host)
            host.start()
        balance = f"reverse_proxy {' '.join(upstreams)} {self._balance}"
        site = f"http://127.0.0.1:{self.port} {{\n\t{balance}\n}}\n"
        self.balancer = Caddy(self._folder / "balancer", site, f"127.0.0.1:{self._ports.take()}")
        self.balancer.start()

    def connect(self) -> http1.Connection:
        """A connection to the balancer."""
        return http1.Connection(self.port)

    def __exit__(self, *_: object) -> None:
        for caddy in (*self.hosts, *filter(None, [self.balancer])):
            if caddy.is_running:
                caddy.end(signal.SIGTERM)
        self._network.__exit__()
        self._ports.release()
