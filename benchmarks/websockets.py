#!/usr/bin/env python3
"""Measures messages per second of a websocket echo app: this plugin, and Caddy in front of uvicorn.

    python benchmarks/websockets.py [--caddy bin/caddy] [--venv DIR] [--seconds 3] [--rounds 5]

Each of 64 clients sends `burst` text messages in one write and waits for all echoes. With a burst
of 1 the messages alternate; with 16 a server may process messages in batches. The client is a plain
socket loop on the same machine, so the CPU time per message is the figure to compare.
"""

from __future__ import annotations

import argparse
import os
import selectors
import socket
import statistics
import struct
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import targets
from measure import cpu_seconds, process_trees
from servers import Server, free_ports
from targets import APPS_DIR, EXPECTED_BODY

HERE = Path(__file__).resolve().parent
CLIENTS = 64
BURSTS = (1, 16)
SIZES = (32, 4096)
UPGRADE = (
    b"GET /echo HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAECAwQFBgcICQoLDA0ODw==\r\n\r\n"
)


def frame(size: int) -> bytes:
    """Returns a text message as a client sends it, masked with zeros (RFC 6455, section 5.3)."""
    if size < 126:
        return bytes([0x81, 0x80 | size, 0, 0, 0, 0]) + b"x" * size
    return struct.pack("!BBHI", 0x81, 0xFE, size, 0) + b"x" * size


@dataclass(slots=True)
class Client:
    """A websocket, and the number of bytes of echoes that it still expects."""

    socket: socket.socket
    awaited: int = 0


def connect(port: int) -> Client:
    client = socket.create_connection(("127.0.0.1", port), timeout=10)
    client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    client.sendall(UPGRADE)
    answer = b""
    while not answer.endswith(b"\r\n\r\n"):
        data = client.recv(4096)
        if not data:
            break
        answer += data
    if not answer.startswith(b"HTTP/1.1 101 "):
        raise SystemExit(f"no websocket on port {port}: {answer[:200]!r}")
    return Client(client)


@contextmanager
def clients(port: int) -> Iterator[list[Client]]:
    found = [connect(port) for _ in range(CLIENTS)]
    try:
        yield found
    finally:
        for client in found:
            client.socket.close()


def echo(port: int, seconds: float, size: int, burst: int) -> int:
    """Returns the number of messages that came back within the time."""
    sent = frame(size) * burst
    expected = len(sent) - 4 * burst  # a server's frames are not masked
    count = 0
    with clients(port) as everyone, selectors.DefaultSelector() as selector:
        for client in everyone:
            selector.register(client.socket, selectors.EVENT_READ, client)
            client.socket.sendall(sent)
            client.awaited = expected
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            for key, _ in selector.select(1):
                client = key.data
                data = client.socket.recv(1 << 18)
                if not data:
                    raise SystemExit(f"port {port} closed a websocket")
                client.awaited -= len(data)
                if client.awaited == 0:
                    count += burst
                    client.socket.sendall(sent)
                    client.awaited = expected
    return count


def start(options: argparse.Namespace, stack: ExitStack) -> dict[str, tuple[int, list[Server]]]:
    """Starts the servers; returns the port and all processes of each."""
    folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bench-")))
    env = dict(os.environ, XDG_DATA_HOME=str(folder), XDG_CONFIG_HOME=str(folder))
    plugin, proxy, backend = free_ports(3)

    def spawn(name: str, command: Sequence[str], cwd: Path) -> Server:
        return stack.enter_context(Server(name, command, cwd, env, folder / f"{name}.log"))

    def caddy(name: str, port: int, directive: str) -> Server:
        config = folder / f"{name}.caddyfile"
        config.write_text(targets.caddyfile([(port, directive)]))
        command = [str(options.caddy), "run", "--config", str(config), "--adapter", "caddyfile"]
        return spawn(name, command, folder)

    app = targets.App("echo", "asgi", "echo_websocket")
    python = str(options.venv / "bin" / "python")
    command = [
        python,
        "-m",
        *targets.backend_command(targets.Target(targets.UVICORN, app), backend),
    ]
    uvicorn = spawn("uvicorn", command, APPS_DIR)
    found = {
        "caddysnake": (
            plugin,
            [caddy("plugin", plugin, targets.plugin_directive(app, options.venv))],
        ),
        "uvicorn ← Caddy": (
            proxy,
            [uvicorn, caddy("proxy", proxy, targets.proxy_directive(backend))],
        ),
    }
    uvicorn.wait_ready(backend, EXPECTED_BODY)
    for port, servers in found.values():
        servers[-1].wait_ready(port, EXPECTED_BODY)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--caddy", type=Path, default=HERE.parent / "bin" / "caddy")
    parser.add_argument("--venv", type=Path, default=Path(sys.prefix))
    parser.add_argument("--seconds", type=float, default=3)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    options.caddy, options.venv = options.caddy.absolute(), options.venv.absolute()

    with ExitStack() as stack:
        found = start(options, stack)
        print("| | bytes | burst | messages/s | CPU µs each |")
        print("|---|--:|--:|--:|--:|")
        for size in SIZES:
            for burst in BURSTS:
                rates: dict[str, list[float]] = {name: [] for name in found}
                costs: dict[str, list[float]] = {name: [] for name in found}
                for _ in range(options.rounds):
                    for name, (port, servers) in found.items():
                        pids = process_trees([server.pid for server in servers])
                        before = cpu_seconds(pids)
                        count = echo(port, options.seconds, size, burst)
                        costs[name].append((cpu_seconds(pids) - before) * 1e6 / max(1, count))
                        rates[name].append(count / options.seconds)
                for name in found:
                    rate, cost = statistics.median(rates[name]), statistics.median(costs[name])
                    print(f"| {name} | {size:,} | {burst} | {rate:,.0f} | {cost:.1f} |", flush=True)


if __name__ == "__main__":
    main()
