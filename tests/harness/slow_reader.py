"""A client that reads a large response slowly: the app may be ahead of it by what the sockets hold,
some MiB, and memory stays flat.

The site's `/sized?N` sends N pieces of 1 MiB, each full of its number modulo 256, and leaves a line
on the board under `note` for each.
"""

from __future__ import annotations

import time

from harness import proc
from harness.board import Board
from harness.server import Server
from harness.ways import connect1

MIB, GIB = 1 << 20, 1 << 30
AHEAD = 24 * MIB


def check_lead(server: Server, board: Board, note: str) -> None:
    """64 MiB to a small receive buffer."""
    with connect1(server, "HTTP/1.1", receive_buffer=4096) as connection:
        connection.request("GET", "/sized?64", board.headers)
        connection.head()
        received = 0
        for piece in connection.chunks():
            received += len(piece)
            assert len(board.lines(note)) * MIB <= received + AHEAD
    assert received == 64 * MIB


def check_gigabyte(server: Server, board: Board, note: str) -> None:
    """1 GiB with pauses: every byte is right, and the server's memory does not grow."""
    sizes = []
    with connect1(server, "HTTP/1.1", receive_buffer=256 << 10, timeout=30) as connection:
        connection.request("GET", f"/sized?{GIB // MIB}", board.headers)
        connection.head()
        received, wrong = 0, 0
        for piece in connection.chunks():
            number = received // MIB
            wrong += piece[0] != number % 256
            received += len(piece)
            if received // MIB != number and received // MIB % 16 == 0:
                sizes.append(proc.rss(server.pid))
                assert len(board.lines(note)) * MIB - received <= AHEAD
                time.sleep(0.05)  # The reader is slow; nothing is waited for.
    assert (received, wrong) == (GIB, 0)
    assert max(sizes) - sizes[0] < 30 * MIB
