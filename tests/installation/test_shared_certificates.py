"""Servers that share one storage get each certificate once, as docs/deploying.md says.

Each server is a network namespace, so the tests need root, as those of installations do.
"""

from __future__ import annotations

import re
import signal
import ssl
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import pytest

from harness.authority import Authority
from harness.documents import DOCS, section
from harness.hosts import Caddy, Network
from harness.python_server import problems_in
from harness.waiting import wait_for

SECTION = section(DOCS / "deploying.md", "### Shared certificates")
SERVERS = (1, 2, 3)
# Where the authority looks for a name.
NAMES = {
    "alice.example": SERVERS,
    "bob.example": (3,),
    "carol.example": (2,),
    "dave.example": (2,),
    "stranger.example": SERVERS,
}
DOMAINS = set(NAMES) - {"stranger.example"}


def block(language: str) -> str:
    found = re.search(rf"^```{language}\n(.*?)^```$", SECTION, re.MULTILINE | re.DOTALL)
    assert found is not None
    return found[1]


class Cluster:
    """Servers with the page's Caddyfile, and an authority that they ask for certificates."""

    def __init__(self, folder: Path, network: Network) -> None:
        self.storage = folder / "storage"
        code = folder / "shop"
        code.mkdir()
        (code / "shop.py").write_text(
            f"from urllib.parse import parse_qs\n\nDOMAINS = {DOMAINS!r}\n\n{block('python')}"
        )
        hosts = {number: network.add() for number in SERVERS}
        self._addresses = {number: address for number, (address, _) in hosts.items()}
        known = {name: [self._addresses[each] for each in at] for name, at in NAMES.items()}
        self.authority = Authority(folder, network, known)
        options, sites = block("caddyfile").removeprefix("{\n").split("}\n\n", 1)
        assert "/mnt/caddy" in options
        options = options.replace("/mnt/caddy", str(self.storage)) + self.authority.options
        sites = sites.replace("shop.wsgi", "shop").replace("/srv/shop/current", str(code))
        self.servers = {
            number: Caddy(folder / f"server-{number}", sites, "127.0.0.1:2019", inside, options)
            for number, (_, inside) in hosts.items()
        }

    def start(self, *servers: int) -> None:
        for number in servers:
            self.servers[number].start()

    def ask(self, server: int, name: str) -> tuple[str, str]:
        """The serial number of the server's certificate for this name, and its answer."""
        return self.authority.ask(self._addresses[server], name)

    def found(self, server: int, text: str) -> list[str]:
        """The lines of its log with this text."""
        return [line for line in self.servers[server].log.splitlines() if text in line]

    def refuses(self, server: int, name: str) -> bool:
        try:
            self.ask(server, name)
        except ssl.SSLError as error:
            return "alert" in str(error)
        return False

    def check_logs(self) -> None:
        for server in self.servers.values():
            if server.is_running:
                assert problems_in(server.log) == []

    def stop(self) -> None:
        for server in self.servers.values():
            if server.is_running:
                server.end(signal.SIGTERM)
        self.authority.stop()


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    with ExitStack() as stack:
        cluster = Cluster(tmp_path, stack.enter_context(Network()))
        stack.callback(cluster.stop)
        cluster.authority.start()
        yield cluster


def test_many_clients_of_all_servers_get_one_certificate(cluster: Cluster) -> None:
    cluster.start(1, 2, 3)
    with ThreadPoolExecutor(48) as pool:
        clients = [pool.submit(cluster.ask, 1 + n % 3, "alice.example") for n in range(48)]
        answers = {client.result() for client in clients}
    assert {text for _, text in answers} == {"the shop"}
    assert (len(answers), cluster.authority.issued) == (1, 1)
    cluster.check_logs()


def test_the_authority_may_ask_another_server_than_the_one_that_wants_it(cluster: Cluster) -> None:
    cluster.start(1, 3)
    serial, _ = cluster.ask(1, "bob.example")
    assert '"distributed":true' in cluster.found(3, "served key authentication")[0]
    assert not cluster.found(1, "served key authentication")
    assert cluster.ask(3, "bob.example")[0] == serial
    cluster.check_logs()


def test_a_server_that_is_started_later_serves_what_is_there(cluster: Cluster) -> None:
    cluster.start(3)
    serial, _ = cluster.ask(3, "bob.example")
    cluster.start(1)
    assert cluster.ask(1, "bob.example") == (serial, "the shop")
    assert cluster.authority.issued == 1
    cluster.check_logs()


def test_a_name_that_the_application_does_not_know_is_refused(cluster: Cluster) -> None:
    cluster.start(1)
    assert cluster.refuses(1, "stranger.example")
    assert cluster.authority.issued == 0
    assert "/new-order" not in cluster.authority.caddy.log


def test_another_server_goes_on_where_one_is_killed(cluster: Cluster) -> None:
    cluster.start(1, 2)
    cluster.authority.caddy.send(signal.SIGSTOP)
    with ThreadPoolExecutor(2) as pool:
        lost = pool.submit(cluster.ask, 1, "carol.example")
        wait_for(lambda: [*cluster.storage.glob("locks/*carol.example*")], "the lock")
        other = pool.submit(cluster.ask, 2, "carol.example")
        wait_for(lambda: cluster.found(2, "acquiring lock"), "the other server")
        cluster.servers[1].end(signal.SIGKILL)
        cluster.authority.caddy.send(signal.SIGCONT)
        with pytest.raises(OSError):
            lost.result()
        assert other.result()[1] == "the shop"
    assert cluster.authority.issued == 1


def test_what_is_loaded_is_served_while_the_storage_is_away(cluster: Cluster) -> None:
    cluster.start(1, 2)
    before = cluster.ask(2, "carol.example")
    away = cluster.storage.with_name("away")
    cluster.storage.rename(away)
    cluster.storage.touch()  # else Caddy would make another one
    assert cluster.refuses(2, "dave.example")
    assert cluster.ask(2, "carol.example") == before
    cluster.storage.unlink()
    away.rename(cluster.storage)
    assert cluster.ask(2, "dave.example")[1] == "the shop"
    assert cluster.authority.issued == 2
