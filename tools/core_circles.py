"""Compiles every C file of the core alone, and fails on dependency cycles of more than two files.

    python tools/core_circles.py gcc -std=gnu11 -Wall -I/usr/include/python3.11

A file depends on another if it refers to a symbol that the other file defines (nm(1), POSIX
format).
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

CORE = Path(__file__).resolve().parent.parent / "core"
LARGEST = 2

# file -> file that it depends on -> the symbols
Needs = dict[str, dict[str, set[str]]]


def symbols(source: Path, compiler: list[str], folder: Path) -> tuple[set[str], set[str]]:
    """Returns the global symbols that the file defines, and those that it needs.

    Raises:
        subprocess.CalledProcessError: the file does not compile; the compiler has printed why.
    """
    target = folder / f"{source.stem}.o"
    subprocess.run([*compiler, "-c", "-o", target, source], check=True)
    listing = subprocess.run(["nm", "-P", "-g", target], stdout=subprocess.PIPE, check=True)
    lines = [line.split() for line in listing.stdout.decode().splitlines()]
    needed = {name for name, kind, *_ in lines if kind == "U"}
    return {name for name, *_ in lines} - needed, needed


def read_needs(compiler: list[str]) -> Needs:
    owners: dict[str, str] = {}
    needed: dict[str, set[str]] = {}
    with tempfile.TemporaryDirectory() as folder:
        for source in sorted(CORE.glob("*.c")):
            defined, needed[source.name] = symbols(source, compiler, Path(folder))
            owners.update(dict.fromkeys(defined, source.name))
    needs: Needs = {name: {} for name in needed}
    for name, wanted in needed.items():
        for symbol in wanted & owners.keys():
            needs[name].setdefault(owners[symbol], set()).add(symbol)
    return needs


def reachable(needs: Needs, start: str) -> set[str]:
    found: set[str] = set()
    to_visit = [start]
    while to_visit:
        for name in needs[to_visit.pop()]:
            if name not in found:
                found.add(name)
                to_visit.append(name)
    return found


def circles(needs: Needs) -> Iterator[list[str]]:
    """Yields each group of files that depend on one another."""
    reach = {name: reachable(needs, name) for name in needs}
    seen: set[str] = set()
    for name in needs:
        circle = [other for other in reach[name] if name in reach[other]]
        if circle and name not in seen:
            seen.update(circle)
            yield sorted(circle)


def main() -> int:
    needs = read_needs(sys.argv[1:])
    too_large = [circle for circle in circles(needs) if len(circle) > LARGEST]
    for circle in too_large:
        print(f"These {len(circle)} files of core/ need each other in a circle:")
        for name in circle:
            for other in sorted(needs[name].keys() & circle):
                print(f"  {name} -> {other}: {', '.join(sorted(needs[name][other]))}")
    return 1 if too_large else 0


if __name__ == "__main__":
    sys.exit(main())
