"""Measures the server's memory per open connection: idle websockets and event streams.

    python benchmarks/connections.py --caddy bin/caddy [--websockets 10000] [--streams 1000]

The app runs on asyncio; compare numbers of one run only. Clients use several loopback addresses,
because each address has only some thousands of ports.
"""

from __future__ import annotations

import argparse
import os
import resource
import socket
import tempfile
import time
from pathlib import Path

from servers import Server, free_ports

APP = """
import asyncio

async def app(scope, receive, send):
    if scope["type"] == "websocket":
        await receive()
        await send({"type": "websocket.accept"})
        while (await receive())["type"] != "websocket.disconnect":
            pass
        return
    await send({"type": "http.response.start", "status": 200, "headers": []})
    if scope["path"] == "/events":
        await send({"type": "http.response.body", "body": b"data: 0\\n\\n", "more_body": True})
        while (await receive())["type"] != "http.disconnect":
            pass
        return
    await send({"type": "http.response.body", "body": b"ok"})
"""
CADDYFILE = """
{{
    admin off
    persist_config off
}}
http://:{port} {{
    bind 127.0.0.1
    python {{
        module_asgi idle:app
        loop asyncio
        working_dir {folder}
    }}
}}
"""
UPGRADE = (
    b"GET / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAECAwQFBgcICQoLDA0ODw==\r\n\r\n"
)
EVENTS = b"GET /events HTTP/1.1\r\nHost: x\r\n\r\n"


def usage(pid: int) -> tuple[int, int, int]:
    """Returns the resident bytes, threads and descriptors of a process."""
    status = Path(f"/proc/{pid}/status").read_text()
    fields = dict(line.split(":", 1) for line in status.splitlines())
    descriptors = len(list(Path(f"/proc/{pid}/fd").iterdir()))
    return int(fields["VmRSS"].split()[0]) * 1024, int(fields["Threads"]), descriptors


def open_one(port: int, number: int, request: bytes, answer: bytes) -> socket.socket:
    client = socket.create_connection(
        ("127.0.0.1", port), timeout=30, source_address=(f"127.0.1.{1 + number // 5000}", 0)
    )
    client.sendall(request)
    received = b""
    while answer not in received:
        data = client.recv(4096)
        if not data:
            raise SystemExit(f"connection {number} was closed: {received!r}")
        received += data
    return client


def measure(pid: int, port: int, what: str, count: int, request: bytes, answer: bytes) -> None:
    """Opens `count` connections, prints the cost of each, and closes them."""
    warm = [open_one(port, n, request, answer) for n in range(20)]
    before = usage(pid)
    begin = time.monotonic()
    clients = [open_one(port, n, request, answer) for n in range(count)]
    seconds = time.monotonic() - begin
    time.sleep(2)  # until the garbage of the handshakes is collected
    after = usage(pid)
    print(
        f"| {what} | {count:,} | {(after[0] - before[0]) / count / 1024:.1f} | "
        f"{after[1] - before[1]} | {(after[2] - before[2]) / count:.2f} | {count / seconds:,.0f} |"
    )
    for client in warm + clients:
        client.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--caddy", default="bin/caddy")
    parser.add_argument("--websockets", type=int, default=10_000)
    parser.add_argument("--streams", type=int, default=1_000)
    options = parser.parse_args()
    limit = max(options.websockets, options.streams) + 1000
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(limit, hard), hard))

    (port,) = free_ports(1)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "idle.py").write_text(APP)
        (folder / "Caddyfile").write_text(CADDYFILE.format(port=port, folder=folder))
        command = [str(Path(options.caddy).resolve()), "run", "--config", f"{folder}/Caddyfile"]
        with Server("caddysnake", command, folder, os.environ, folder / "log") as server:
            server.wait_ready(port, b"ok")
            print("| | connections | KiB each | threads | descriptors each | opened per s |")
            print("|---|--:|--:|--:|--:|--:|")
            measure(server.pid, port, "websockets", options.websockets, UPGRADE, b"\r\n\r\n")
            measure(server.pid, port, "event streams", options.streams, EVENTS, b"data: 0")


if __name__ == "__main__":
    main()
