"""An ACME authority on a host of its own: a Caddy with `acme_server`; and clients that trust it."""

from __future__ import annotations

import json
import signal
import socket
import ssl
from collections.abc import Mapping, Sequence
from pathlib import Path

from harness.hosts import Caddy, Network
from harness.waiting import wait_for


class Authority:
    """It looks for each name at the addresses of `names`, by one of the challenges."""

    def __init__(
        self,
        folder: Path,
        network: Network,
        names: Mapping[str, Sequence[str]],
        challenges: Sequence[str] = ("http-01", "tls-alpn-01"),
    ) -> None:
        address, inside = network.add(names)
        site = f"https://{address} {{\n\tlog\n\ttls internal\n\tacme_server\n}}\n"
        options = "\tskip_install_trust\n"
        self.caddy = Caddy(folder / "authority", site, "127.0.0.1:2019", inside, options)
        self._root = folder / "authority/home/data/caddy/pki/authorities/local/root.crt"
        # Global options of its customers.
        self.options = f"\tacme_ca https://{address}/acme/local/directory\n"
        self.options += f"\tacme_ca_root {self._root}\n"

    def start(self) -> None:
        self.caddy.start()
        wait_for(self._root.exists, "the authority's own certificate")
        self._trust = ssl.create_default_context(cafile=self._root)

    def stop(self) -> None:
        if self.caddy.is_running:
            self.caddy.send(signal.SIGCONT)
            self.caddy.end(signal.SIGTERM)

    @property
    def issued(self) -> int:
        """How many certificates it was made to issue."""
        requests = [json.loads(line) for line in self.caddy.log.splitlines()]
        return sum(
            request.get("status") == 200 and request["request"]["uri"].endswith("/finalize")
            for request in requests
        )

    def ask(self, address: str, name: str) -> tuple[str, str]:
        """The serial number of a server's certificate for this name, and its answer."""
        with (
            socket.create_connection((address, 443), 60) as raw,
            self._trust.wrap_socket(raw, server_hostname=name) as tls,
            tls.makefile("rwb") as stream,
        ):
            stream.write(f"GET / HTTP/1.1\r\nHost: {name}\r\nConnection: close\r\n\r\n".encode())
            stream.flush()
            certificate = tls.getpeercert()
            assert certificate is not None
            answer = stream.read().decode()
            assert answer.startswith("HTTP/1.1 200 OK\r\n"), answer
            return str(certificate["serialNumber"]), answer.rpartition("\r\n\r\n")[2]
