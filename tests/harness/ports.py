"""Loopback ports that belong to one server as long as it lives.

Caddy listens with SO_REUSEPORT, so two servers given one port by accident would share its requests
in silence. A reserved port is therefore held by a socket that is bound, also with SO_REUSEPORT, but
never listens: Caddy may bind next to it, while the kernel gives the port to nobody who asks for any
free port, in this process or another.
"""

from __future__ import annotations

import socket
from collections.abc import Iterable
from pathlib import Path

from harness.waiting import wait_for

HOST = "127.0.0.1"
_LISTEN = "0A"


def await_reloaded(ports: Iterable[int]) -> None:
    """Caddy answers a reload before it closes the old listeners, and resets who waits there."""
    wait_for(lambda: all(_listeners(port) < 2 for port in ports), "the old listeners to close")


def _listeners(port: int) -> int:
    """How many sockets listen on a loopback port: two, until a reloaded Caddy has closed one."""
    lines = Path("/proc/net/tcp").read_text().splitlines()[1:]
    sockets = [(address, state) for _, address, _, state, *_ in map(str.split, lines)]
    return sum(address.endswith(f":{port:04X}") and state == _LISTEN for address, state in sockets)


class Ports:
    """The reserved ports of one server."""

    def __init__(self) -> None:
        self._holders: list[socket.socket] = []

    def take(self) -> int:
        holder = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        holder.bind((HOST, 0))
        self._holders.append(holder)
        return int(holder.getsockname()[1])

    def release(self) -> None:
        while self._holders:
            self._holders.pop().close()
