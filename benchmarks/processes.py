"""Processes below Caddy: their kinds, memory, threads and descriptors."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from measure import process_trees

WORKER = "python-worker"
ZYGOTE = "python-zygote"
GONE = (FileNotFoundError, ProcessLookupError)  # it has ended while we looked


@dataclass(frozen=True, slots=True)
class Usage:
    """What processes use; a page that several of them share counts once in `proportional`."""

    private: int = 0  # bytes that no other process shares
    proportional: int = 0  # these, and each shared page divided by the number of its processes
    threads: int = 0
    descriptors: int = 0
    processes: int = 0

    def __add__(self, other: Usage) -> Usage:
        return Usage(*(getattr(self, name) + getattr(other, name) for name in self.__slots__))

    def __sub__(self, other: Usage) -> Usage:
        return Usage(*(getattr(self, name) - getattr(other, name) for name in self.__slots__))


def children(root: int, name: str) -> Iterator[int]:
    """Yields the processes of this name that descend from `root`."""
    for pid in process_trees([root]):
        with suppress(*GONE):
            if Path(f"/proc/{pid}/comm").read_text().strip() == name:
                yield pid


def usage(pid: int) -> Usage:
    """Returns what one process uses; nothing if it has ended."""
    try:
        rollup = Path(f"/proc/{pid}/smaps_rollup").read_text()
        status = Path(f"/proc/{pid}/status").read_text()
        descriptors = len(os.listdir(f"/proc/{pid}/fd"))
    except GONE:
        return Usage()
    return Usage(
        private=kilobytes(rollup, r"Private_\w+") * 1024,
        proportional=kilobytes(rollup, "Pss") * 1024,
        threads=int(status.partition("Threads:")[2].split()[0]),
        descriptors=descriptors,
        processes=1,
    )


def usage_of(pids: Iterable[int]) -> Usage:
    return sum((usage(pid) for pid in pids), Usage())


def private_dirty(pid: int) -> int:
    """Returns the KiB that a process has written and shares with no other process."""
    return kilobytes(Path(f"/proc/{pid}/smaps_rollup").read_text(), "Private_Dirty")


def kilobytes(text: str, field: str) -> int:
    return sum(int(n) for n in re.findall(rf"^{field}: +(\d+) kB", text, re.MULTILINE))
