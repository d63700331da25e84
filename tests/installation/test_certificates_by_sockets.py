"""A server with sockets of systemd gets a certificate, though it binds no port itself.

The server is in a network namespace, so the test needs root, as those of installations do.
"""

from __future__ import annotations

import ctypes
import os
import re
import signal
import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from harness.authority import Authority
from harness.documents import DOCS, section
from harness.hosts import Caddy, Network
from harness.python_server import problems_in
from harness.waiting import wait_for

SECTION = section(DOCS / "deploying.md", "### A socket that outlives the server")
NAME = "shop.example"
CLONE_NEWNET = 0x40000000
LISTENERS = [(socket.SOCK_STREAM, 80), (socket.SOCK_STREAM, 443), (socket.SOCK_DGRAM, 443)]
APP = """
def application(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"the shop"]
"""


def listen(namespace: str) -> list[socket.socket]:
    """The sockets of the page's unit in a network namespace, which this thread then is in."""
    libc = ctypes.CDLL(None, use_errno=True)
    descriptor = os.open(f"/run/netns/{namespace}", os.O_RDONLY)
    try:
        if libc.setns(descriptor, CLONE_NEWNET):
            raise OSError(ctypes.get_errno(), "setns")
    finally:
        os.close(descriptor)
    made = []
    for kind, port in LISTENERS:
        listener = socket.socket(socket.AF_INET6, kind)
        listener.bind(("::", port))
        if kind == socket.SOCK_STREAM:
            listener.listen()
        made.append(listener)
    return made


@contextmanager
def sockets_of(namespace: str) -> Iterator[list[socket.socket]]:
    with ThreadPoolExecutor(1) as thread:
        made = thread.submit(listen, namespace).result()
    try:
        yield made
    finally:
        for each in made:
            each.close()


@pytest.mark.parametrize("challenge", ["http-01", "tls-alpn-01"])
def test_a_server_with_sockets_of_systemd_gets_a_certificate(
    challenge: str, tmp_path: Path
) -> None:
    (tmp_path / "shop.py").write_text(APP)
    found = re.search(r"^```caddyfile\n\{\n(.*?)^\}\n\n(.*?)^```$", SECTION, re.M | re.S)
    assert found is not None
    options, sites = found.groups()
    sites = sites.replace("shop.wsgi", "shop").replace("/srv/shop/current", str(tmp_path))
    with ExitStack() as stack:
        network = stack.enter_context(Network())
        address, inside = network.add()
        authority = Authority(tmp_path, network, {NAME: [address]}, [challenge])
        stack.callback(authority.stop)
        authority.start()
        sockets = stack.enter_context(sockets_of(inside[-1]))
        options += authority.options
        server = Caddy(tmp_path / "server", sites, "127.0.0.1:2019", inside, options, sockets)
        stack.callback(lambda: server.is_running and server.end(signal.SIGTERM))
        server.start()
        wait_for(lambda: "certificate obtained successfully" in server.log, "the certificate", 60)
        with ThreadPoolExecutor(16) as pool:
            answers = set(pool.map(lambda _: authority.ask(address, NAME), range(64)))
        assert {text for _, text in answers} == {"the shop"}
        assert (len(answers), authority.issued) == (1, 1)
        assert problems_in(server.log) == []
