"""A service manager hears that the server is ready when its applications are loaded."""

from __future__ import annotations

import socket
import subprocess
from pathlib import Path

from harness import http1
from harness.ports import Ports
from harness.server import environment
from harness.settings import BINARY

MAIN = """
from pathlib import Path

Path("loaded").touch()

def app(environ, start_response):
    start_response("200 OK", [])
    return [b"ready"]
"""


def test_ready_is_said_after_the_application_is_loaded(tmp_path: Path) -> None:
    (tmp_path / "main.py").write_text(MAIN)
    ports = Ports()
    port = ports.take()
    options = "{\n\tadmin off\n\tdefault_bind 127.0.0.1\n}\n"
    (tmp_path / "Caddyfile").write_text(f"{options}http://:{port} {{\n\tpython main:app\n}}\n")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notified:
        notified.bind(str(tmp_path / "notify"))
        notified.settimeout(60)
        env = environment(tmp_path / "home", {"NOTIFY_SOCKET": str(tmp_path / "notify")})
        server = subprocess.Popen([BINARY, "run"], cwd=tmp_path, env=env, stderr=subprocess.DEVNULL)
        try:
            while b"READY=1" not in notified.recv(1000):
                pass
            assert (tmp_path / "loaded").exists()
            assert http1.request(port, "GET", "/").text == "ready"
        finally:
            server.terminate()
            assert server.wait(60) == 0
            ports.release()
