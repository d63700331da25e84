"""Sockets that a command gets as systemd passes those of a socket unit."""

from __future__ import annotations

import socket
from collections.abc import Sequence
from typing import Any

FIRST = 3


def activated(command: Sequence[str], sockets: Sequence[socket.socket]) -> dict[str, Any]:
    """Arguments of Popen for a command that has the sockets from descriptor 3 on.

    They stay open here, so they outlive the command.
    """
    numbers = [each.fileno() for each in sockets]
    assert min(numbers) >= FIRST + len(numbers)
    moves = [f"{to}<&{number} {number}<&-" for to, number in enumerate(numbers, FIRST)]
    script = f'LISTEN_FDS={len(numbers)} LISTEN_PID=$$ exec "$@" {" ".join(moves)}'
    return {"args": ["bash", "-c", script, "bash", *command], "pass_fds": numbers}
