"""Apps in worker processes, and the processes."""

from __future__ import annotations

from pathlib import Path

from harness import proc
from harness.board import Board
from harness.caddyfile import asgi, wsgi
from harness.health import Slack
from harness.server import Server
from harness.settings import APPS
from harness.waiting import wait_for

# A worker is a child with descriptors of its own, and so is the zygote that forks its successors.
WORKERS = Slack(threads=24, wsgi_threads=72, python_threads=4, descriptors=40, children=4)
SHARED = f"python_path {APPS / 'bare'}"


def worker(target: str, *options: str, workers: str = "workers 1") -> str:
    """A block with a WSGI app of these tests."""
    return wsgi(target, SHARED, *filter(None, [workers]), *options, folder="workers")


def loop_worker(board: Board, *options: str, workers: str = "workers 1") -> str:
    """The same with the ASGI app, whose notes go to the board."""
    notes = f"env_var NOTES {board.folder}"
    return asgi("alive:app", SHARED, workers, notes, *options, folder="workers")


def is_alive(pid: int) -> bool:
    """Whether there is such a process, and it is no zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def await_end(pids: set[int]) -> None:
    for pid in pids:
        wait_for(lambda pid=pid: not is_alive(pid), f"the end of process {pid}", 20)


def workers(server: Server) -> set[int]:
    """Processes that a zygote or Caddy has started, and that share memory with it."""
    found = set()
    for pid in processes(server):
        try:
            maps = Path(f"/proc/{pid}/maps").read_text()
        except (FileNotFoundError, ProcessLookupError):
            continue  # It ended while we looked.
        if "memfd:caddysnake (deleted)" in maps:
            found.add(pid)
    return found


def processes(server: Server) -> set[int]:
    """The children of Caddy, and theirs: a zygote is the parent of the workers that it forks."""
    own = proc.children(server.pid)
    found = set(own)
    for child in own:
        try:
            found |= set(proc.children(child))
        except (FileNotFoundError, ProcessLookupError):
            continue  # It ended while we looked.
    return found
