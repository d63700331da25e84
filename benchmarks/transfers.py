"""Measures large bodies up and down: time, and CPU time of Caddy and its workers, in both homes.

    python benchmarks/transfers.py --caddy bin/caddy [--mib 100] [--rounds 7]

The homes take turns in one Caddy: compare rows of one run only.
"""

from __future__ import annotations

import argparse
import http.client
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from measure import cpu_seconds, process_trees
from servers import Server, free_ports

SOURCES = Path(__file__).resolve().parent / "apps"
HOMES = {"Caddy's process": 0, "workers 1": 1}
PART = 64 << 10


def site(port: int, interface: str, workers: int) -> str:
    return f"""http://:{port} {{
    bind 127.0.0.1
    python transfer_{interface}:app {{
        working_dir {SOURCES}
        workers {workers}
    }}
}}
"""


def down(port: int, size: int) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    connection.request("GET", f"/{size}")
    response = connection.getresponse()
    room = bytearray(PART)
    got = 0
    while count := response.readinto(room):
        got += count
    connection.close()
    if response.status != 200 or got != size:
        raise SystemExit(f"{response.status}: {got} of {size} bytes")


def up(port: int, size: int) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    part = bytes(PART)
    headers = {"Content-Length": str(size)}
    connection.request("POST", "/", (part for _ in range(size // PART)), headers)
    response = connection.getresponse()
    answer = response.read()
    connection.close()
    if answer != str(size).encode():
        raise SystemExit(f"{response.status}: {answer!r} of {size} bytes")


def measure(transfer: Callable[[int, int], None], port: int, size: int, caddy: int) -> list[float]:
    """Returns seconds and CPU seconds of one transfer."""
    pids = process_trees([caddy])
    cpu, begin = cpu_seconds(pids), time.monotonic()
    transfer(port, size)
    return [time.monotonic() - begin, cpu_seconds(pids) - cpu]


def main() -> None:
    parser = argparse.ArgumentParser(description="Measures large bodies in both homes.")
    parser.add_argument("--caddy", type=Path, default=Path("bin/caddy"))
    parser.add_argument("--mib", type=int, default=100)
    parser.add_argument("--rounds", type=int, default=7)
    options = parser.parse_args()
    cases = [(interface, home) for interface in ("wsgi", "asgi") for home in HOMES]
    ports = dict(zip(cases, free_ports(len(cases)), strict=True))
    with tempfile.TemporaryDirectory() as name:
        config = Path(name) / "Caddyfile"
        sites = "".join(site(port, case[0], HOMES[case[1]]) for case, port in ports.items())
        config.write_text(f"{{\n    admin off\n    persist_config off\n}}\n{sites}")
        command = [str(options.caddy.resolve()), "run", "--config", str(config)]
        with Server("caddy", command, Path(name), os.environ, Path(name) / "log") as server:
            for port in ports.values():
                server.wait_ready(port, b"")
            print("| | | s: best | median | CPU s: best | median |\n|---|---|--:|--:|--:|--:|")
            for interface in ("wsgi", "asgi"):
                for transfer in (down, up):
                    figures: dict[str, list[list[float]]] = {home: [] for home in HOMES}
                    for _ in range(options.rounds):
                        for home in HOMES:
                            port = ports[interface, home]
                            figures[home].append(
                                measure(transfer, port, options.mib << 20, server.pid)
                            )
                    for home, values in figures.items():
                        cells = [
                            f"{choose(column):.3f}"
                            for column in zip(*values, strict=True)
                            for choose in (min, statistics.median)
                        ]
                        what = f"{interface.upper()} {transfer.__name__}"
                        print(f"| {what} | {home} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
