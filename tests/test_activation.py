"""Sockets of systemd: Caddy serves on descriptors, and no other process has them."""

from __future__ import annotations

import os
import re
import signal
import socket
import ssl
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness import http1, proc
from harness.documents import DOCS, section
from harness.hosts import Caddy
from harness.http2 import Connection2
from harness.http3 import Connection3
from harness.ports import HOST, Ports
from harness.python_server import problems_in
from harness.waiting import wait_for

SECTION = section(DOCS / "deploying.md", "### A socket that outlives the server")
APP = """
def application(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [environ["SERVER_PROTOCOL"].encode()]
"""


def block(language: str) -> str:
    found = re.search(rf"^```{language}\n(.*?)^```$", SECTION, re.MULTILINE | re.DOTALL)
    assert found is not None
    return found[1]


@pytest.fixture
def sockets() -> Iterator[list[socket.socket]]:
    """Those of the page's unit, on ports of the test's own: the second and third share theirs."""
    kinds = {"ListenStream": socket.SOCK_STREAM, "ListenDatagram": socket.SOCK_DGRAM}
    ports: dict[str, int] = {}
    made = []
    for kind, port in re.findall(r"^(Listen\w+)=(\d+)$", block("ini"), re.MULTILINE):
        listener = socket.socket(socket.AF_INET, kinds[kind])
        listener.bind((HOST, ports.get(port, 0)))
        ports[port] = listener.getsockname()[1]
        if kind == "ListenStream":
            listener.listen()
        made.append(listener)
    yield made
    for listener in made:
        listener.close()


@pytest.fixture
def caddy(tmp_path: Path, sockets: list[socket.socket]) -> Iterator[Caddy]:
    """A server with the page's Caddyfile, and with workers and a command beside them."""
    (tmp_path / "shop.py").write_text(APP)
    options, sites = block("caddyfile").removeprefix("{\n").split("}\n\n", 1)
    for written, ours in [
        ("shop.example", "https://localhost"),
        ("shop.wsgi", "shop"),
        ("/srv/shop/current\n", f"{tmp_path}\n\t\tworkers 1\n\t\tbackground sleep 1000\n"),
        ("\tpython", "\ttls internal\n\tpython"),
    ]:
        assert written in sites
        sites = sites.replace(written, ours)
    options += "\tskip_install_trust\n"
    ports = Ports()
    admin = f"{HOST}:{ports.take()}"
    caddy = Caddy(tmp_path / "caddy", sites, admin, options=options, sockets=sockets)
    try:
        caddy.start()
        yield caddy
    finally:
        if caddy.is_running:
            caddy.end(signal.SIGTERM)
        ports.release()


def has_certificate(port: int) -> bool:
    """Caddy makes it in the background, once it serves."""
    try:
        http1.Connection(port, tls=True).close()
    except ssl.SSLError:
        return False
    return True


def test_each_socket_has_its_protocols(caddy: Caddy, sockets: list[socket.socket]) -> None:
    plain, secure, datagrams = (each.getsockname()[1] for each in sockets)
    assert datagrams == secure
    wait_for(lambda: has_certificate(secure), "the certificate")
    for _ in range(2):
        answer = http1.request(plain, "GET", "/books?page=2", [("Host", "localhost")])
        assert (answer.status, answer.get("location")) == (302, "https://localhost/books?page=2")
        first = http1.request(secure, "GET", "/", [("Host", "localhost")], tls=True)
        assert first.text == "HTTP/1.1"
        with (
            Connection2(secure, tls=True, host="localhost") as second,
            Connection3(datagrams, host="localhost") as third,
        ):
            assert bytes(second.request("GET", "/").body) == b"HTTP/2.0"
            assert bytes(third.request("GET", "/").body) == b"HTTP/3.0"
        done = caddy.command("reload", "--force", "--address", caddy.admin)
        assert done.returncode == 0, done.stderr
    assert problems_in(caddy.log) == []


def test_other_processes_do_not_have_the_sockets(
    caddy: Caddy, sockets: list[socket.socket]
) -> None:
    passed = {f"socket:[{os.fstat(each.fileno()).st_ino}]" for each in sockets}
    assert passed <= set(proc.descriptors(caddy.pid).values())
    wait_for(lambda: "sleep" in children(caddy.pid).values(), "the command")
    others = children(caddy.pid)
    assert "python-worker" in others.values()
    held = {name: passed & set(proc.descriptors(pid).values()) for pid, name in others.items()}
    assert held == {name: set() for name in others.values()}


def children(pid: int) -> dict[int, str]:
    """Their names."""
    return {each: Path(f"/proc/{each}/comm").read_text().strip() for each in proc.children(pid)}
