"""The Caddyfile of docs/tenants.md that gets a certificate for each tenant; Caddy is the CA."""

from __future__ import annotations

import shutil
import socket
import ssl
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness.documents import DOCS, blocks
from harness.ports import Ports
from harness.server import environment
from harness.settings import BINARY
from harness.waiting import wait_for

PAGE = DOCS / "tenants.md"
APP = """
def app(environ, start_response):
    start_response("200 OK", [])
    return [environ["HTTP_HOST"].encode()]
"""


@pytest.fixture
def sites(tmp_path: Path) -> Path:
    folder = tmp_path / "sites" / "shop.example.com"
    folder.mkdir(parents=True)
    (folder / "main.py").write_text(APP)
    return folder.parent


@pytest.fixture
def port(tmp_path: Path, sites: Path) -> Iterator[int]:
    """Where the page's Caddyfile serves these sites."""
    ports = Ports()
    https, ask = ports.take(), ports.take()
    (text,) = [block.text for block in blocks(PAGE) if "on_demand_tls" in block.text]
    options = ["admin off", "local_certs", "skip_install_trust", "auto_https disable_redirects"]
    lines = [*options, f"https_port {https}", text.removeprefix("{\n")]
    text = "{\n" + "\n".join(lines)
    (tmp_path / "Caddyfile").write_text(
        text.replace("9123", str(ask)).replace("/srv/sites", str(sites))
    )
    log = tmp_path / "log"
    with log.open("wb") as output:
        server = subprocess.Popen(
            [BINARY, "run"], cwd=tmp_path, env=environment(tmp_path / "home", {}), stderr=output
        )
    try:
        wait_for(lambda: b"serving initial configuration" in log.read_bytes(), log.read_text, 30)
        yield https
    finally:
        server.terminate()
        server.wait(30)
        ports.release()


def get(port: int, host: str) -> str:
    """What a host answers, with a certificate that has its name."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    with (
        socket.create_connection(("127.0.0.1", port), timeout=30) as plain,
        context.wrap_socket(plain, server_hostname=host) as client,
    ):
        client.sendall(f"GET / HTTP/1.0\r\nHost: {host}\r\n\r\n".encode())
        answer = b"".join(iter(lambda: client.recv(65536), b"")).decode()
        assert host.encode() in (client.getpeercert(binary_form=True) or b"")
    return answer.rpartition("\n")[2]


def test_each_tenant_gets_a_certificate_and_nobody_else(port: int, sites: Path) -> None:
    assert get(port, "shop.example.com") == "shop.example.com"
    for name in ("blog.example.com", "example.com", "sites"):
        with pytest.raises(ssl.SSLError):
            get(port, name)
    shutil.copytree(sites / "shop.example.com", sites / "blog.example.com")
    assert get(port, "blog.example.com") == "blog.example.com"
