"""Measures workers that are forked from a zygote: the time until one is ready, its own memory, and
the time from a crash of the only worker to an answer of its successor.

    python benchmarks/forking.py --caddy bin/caddy [--times 20] [--only 'flask|fastapi']

README.md explains the results.
"""

from __future__ import annotations

import argparse
import http.client
import json
import os
import re
import signal
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from processes import WORKER, ZYGOTE, children, private_dirty
from servers import Server, free_ports

APPS = {
    "WSGI": "hello_wsgi:app",
    "ASGI": "hello_asgi:app",
    "Flask": "hello_flask:app",
    "FastAPI": "hello_fastapi:app",
}
SOURCES = Path(__file__).resolve().parent / "apps"
ANSWER = b"Hello, World!"
PATIENCE = 60.0
POLL = 0.001


@dataclass(slots=True)
class Result:
    """Figures of one application, one for each round."""

    ready: list[float] = field(default_factory=list)  # seconds
    fresh: list[int] = field(default_factory=list)  # KiB, before the first request
    used: list[int] = field(default_factory=list)  # KiB, after it
    crash: list[float] = field(default_factory=list)  # seconds

    def row(self) -> str:
        ready, crash = ([f"{1e3 * s:.1f}" for s in summary(v)] for v in (self.ready, self.crash))
        fresh, used = (f"{statistics.median(v) / 1024:.1f}" for v in (self.fresh, self.used))
        return f"{' / '.join(ready)} | {fresh} | {used} | {' / '.join(crash)}"


def summary(values: list[float]) -> tuple[float, float]:
    return min(values), statistics.median(values)


def wait_for(find: Callable[[], int | None], what: str) -> int:
    deadline = time.monotonic() + PATIENCE
    while (found := find()) is None:
        if time.monotonic() > deadline:
            raise SystemExit(f"no {what} within {PATIENCE:.0f} s")
        time.sleep(POLL)
    return found


class Site:
    """A Caddy with one application in one worker."""

    def __init__(self, options: argparse.Namespace, app: str, folder: Path) -> None:
        self._app, self._venv = app, options.venv
        self._port, self._admin = free_ports(2)
        self._log = folder / "log"
        config = folder / "Caddyfile"
        config.write_text(self._caddyfile(60))
        command = [str(options.caddy.resolve()), "run", "--config", str(config)]
        self.server = Server("caddy", command, folder, os.environ, self._log)

    def _caddyfile(self, seconds: int) -> str:
        return f"""{{
    admin 127.0.0.1:{self._admin}
    persist_config off
}}
http://127.0.0.1:{self._port} {{
    python {self._app} {{
        working_dir "{SOURCES}"
        venv "{self._venv}"
        workers 1
        slow_request {seconds}s
    }}
}}
"""

    def wait_until_forking(self) -> None:
        self.server.wait_ready(self._port, ANSWER)
        wait_for(lambda: next(children(self.server.pid, ZYGOTE), None), "zygote")
        time.sleep(2)  # it imports the packages

    def worker(self, *known: int) -> int:
        """Waits for a worker that is none of these."""

        def find() -> int | None:
            found = set(children(self.server.pid, WORKER)) - set(known)
            return found.pop() if len(found) == 1 else None

        return wait_for(find, "worker")

    def ask(self) -> None:
        self.server.wait_ready(self._port, ANSWER)

    def reload(self, number: int) -> float:
        """Loads the application again, with another setting; returns the seconds that took."""
        connection = http.client.HTTPConnection("127.0.0.1", self._admin, timeout=60)
        headers = {"Content-Type": "text/caddyfile"}
        connection.request("POST", "/load", self._caddyfile(60 + number), headers)
        response = connection.getresponse()
        if response.status != 200:
            raise self.server.failure(f"reload: {response.status} {response.read()!r}")
        records = [json.loads(line) for line in self._log.read_text().splitlines()]
        durations = [r["duration"] for r in records if r["msg"] == "python app loaded"]
        return float(durations[-1])

    def crash(self, pid: int) -> float:
        """Kills the worker; returns the seconds until another one answers."""
        begin = time.perf_counter()
        os.kill(pid, signal.SIGKILL)
        while True:
            connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=60)
            connection.request("GET", "/")
            response = connection.getresponse()
            if response.read() == ANSWER and response.status == 200:
                return time.perf_counter() - begin


def measure(options: argparse.Namespace, app: str) -> Result:
    result = Result()
    with tempfile.TemporaryDirectory() as folder:
        site = Site(options, app, Path(folder))
        with site.server:
            site.wait_until_forking()
            old = site.worker()
            for number in range(1, options.times + 1):
                result.ready.append(site.reload(number))
                pid = site.worker(old)
                result.fresh.append(private_dirty(pid))
                site.ask()
                result.used.append(private_dirty(pid))
                wait_for(lambda pid=old: None if Path(f"/proc/{pid}").exists() else pid, "end")
                result.crash.append(site.crash(pid))
                old = site.worker(pid)
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description="Measures workers that a zygote forks.")
    parser.add_argument("--caddy", type=Path, default=Path("bin/caddy"))
    parser.add_argument("--venv", type=Path, default=Path(sys.prefix))
    parser.add_argument("--times", type=int, default=20)
    parser.add_argument("--only", default="", help="a regular expression for the names")
    options = parser.parse_args()
    print("| app | ready, ms: best / median | MiB | after a request | crash, ms: best / median |")
    print("|---|---|---|---|---|")
    for name, app in APPS.items():
        if re.search(options.only, name, re.IGNORECASE):
            print(f"| {name} | {measure(options, app).row()} |", flush=True)


if __name__ == "__main__":
    main()
