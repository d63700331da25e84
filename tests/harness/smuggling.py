"""Requests whose framing says two things, and what hides behind them."""

from __future__ import annotations

from harness.board import Board

# Answered only by a server that has taken the end of the request before for something else.
SMUGGLED = b"GET /hello HTTP/1.1\r\nHost: localhost\r\n\r\n"


def post_head(board: Board, *lines: str) -> bytes:
    """The head of a POST with these header lines beside those that it needs."""
    fixed = ["POST /x HTTP/1.1", "Host: localhost", f"X-Board: {board.folder}"]
    return "\r\n".join([*fixed, *lines, "", ""]).encode()
