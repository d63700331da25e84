"""Measures the server's memory per open connection: idle websockets and event streams.

    python benchmarks/connections.py --caddy bin/caddy [--workers 0] [--websockets 10000]

The app runs on asyncio; compare numbers of one run only. Clients use several loopback addresses,
because each address has only some thousands of ports. README.md explains the results.
"""

from __future__ import annotations

import argparse
import os
import resource
import socket
import tempfile
import time
from pathlib import Path

from processes import WORKER, Usage, children, usage, usage_of
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
        workers {workers}
        working_dir {folder}
    }}
}}
"""
UPGRADE = (
    b"GET / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAECAwQFBgcICQoLDA0ODw==\r\n\r\n"
)
EVENTS = b"GET /events HTTP/1.1\r\nHost: x\r\n\r\n"
SETTLE = 4.0  # seconds; idle websockets give their memory back after two
HEAD = (
    "| | connections | KiB each | private | in Caddy | in workers | threads | descriptors each |"
    " opened per s |\n|---|--:|--:|--:|--:|--:|--:|--:|--:|"
)


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


def measure(
    options: argparse.Namespace, what: str, count: int, request: bytes, answer: bytes
) -> None:
    """Prints the cost of each of `count` connections."""
    (port,) = free_ports(1)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "idle.py").write_text(APP)
        (folder / "Caddyfile").write_text(
            CADDYFILE.format(port=port, folder=folder, workers=options.workers)
        )
        command = [str(Path(options.caddy).resolve()), "run", "--config", f"{folder}/Caddyfile"]
        with Server("caddysnake", command, folder, os.environ, folder / "log") as server:
            server.wait_ready(port, b"ok")
            warm = [open_one(port, n, request, answer) for n in range(20)]
            time.sleep(SETTLE)  # a new zygote begins to share pages with the first worker
            before = costs(server.pid)
            begin = time.monotonic()
            clients = [open_one(port, n, request, answer) for n in range(count)]
            seconds = time.monotonic() - begin
            time.sleep(SETTLE)
            after = costs(server.pid)
            for client in warm + clients:
                client.close()
    caddy, workers = (now - then for now, then in zip(after, before, strict=True))
    both = caddy + workers
    print(
        f"| {what} | {count:,} | {each(both.proportional, count)} | {each(both.private, count)} | "
        f"{each(caddy.proportional, count)} | {each(workers.proportional, count)} | "
        f"{both.threads} | {both.descriptors / count:.2f} | {count / seconds:,.0f} |",
        flush=True,
    )


def costs(pid: int) -> tuple[Usage, Usage]:
    """Returns what Caddy and its workers use."""
    return usage(pid), usage_of(children(pid, WORKER))


def each(size: int, count: int) -> str:
    return f"{size / count / 1024:.1f}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--caddy", default="bin/caddy")
    parser.add_argument("--workers", type=int, default=0, help="0: in Caddy's process")
    parser.add_argument("--websockets", type=int, default=10_000)
    parser.add_argument("--streams", type=int, default=1_000)
    options = parser.parse_args()
    limit = max(options.websockets, options.streams) + 1000
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(limit, hard), hard))

    print(HEAD)
    # Each in a Caddy of its own: memory that has been used before would cost nothing.
    measure(options, "websockets", options.websockets, UPGRADE, b"\r\n\r\n")
    measure(options, "event streams", options.streams, EVENTS, b"data: 0")


if __name__ == "__main__":
    main()
