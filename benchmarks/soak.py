"""Endurance of workers: one Caddy serves Django, FastAPI and Flask, each in four workers. It is
reloaded, workers are killed, and applications misbehave, while 64 connections check every answer.

    python benchmarks/soak.py --caddy bin/caddy [--rounds 10] [--minutes 20]

README.md explains the results. As root, the log gets a small disk of its own, which is filled.
"""

from __future__ import annotations

import argparse
import os
import random
import re
import signal
import statistics
import sys
import tempfile
import threading
import time
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from processes import WORKER, ZYGOTE, children, usage_of
from soak_crowd import BROWSERS, Crowd
from soak_sites import WORKERS, Site, Stand, wait_for

HEALTHY = 10.0  # seconds that a worker must live for its successor to start at once
CRASH = (
    "python worker has ended unexpectedly|requests of an ended python worker are lost"
    "|a python worker keeps ending"
)
STUCK = (
    f"{CRASH}|python worker is stuck|python worker gives no sign of life"
    "|python worker finishes no request|blocked|[Tt]hread|File"
)
BROKEN_MODULE = "reloading python app failed; it keeps|ZeroDivisionError"
# Caddy's own; it gives the old admin endpoint 10 s, which a slow POST /load exceeds.
ALWAYS = "HTTP/[23] skipped|Caddyfile input is not formatted|stopping current admin endpoint"
PANIC = re.compile(r"^(panic|fatal error|goroutine \d+|SIG[A-Z]+:|Traceback)", re.MULTILINE)
HEAD = (
    "| minute | Caddy: private MiB | PSS | live in Go | goroutines | threads | descriptors"
    " | zygotes: MiB, PSS | workers: MiB, PSS | threads | descriptors |\n|" + "--:|" * 11
)


class Soak:
    """The phases, and what has been found in them."""

    def __init__(self, stand: Stand, crowd: Crowd, times: int) -> None:
        self.stand, self.crowd, self.times = stand, crowd, times
        self.findings: list[str] = []
        self.counts: dict[str, Counter[str]] = {}
        self.records: list[dict[str, Any]] = []  # of this phase
        self.recovery: dict[str, list[float]] = {"young": [], "healthy": []}
        self._begun: Counter[str] = Counter()

    # What is looked at after each phase.

    @contextmanager
    def phase(self, name: str, times: int, kinds: str = "", records: str = "") -> Iterator[None]:
        """What happens inside must be of one of these kinds; and so must be what is logged."""
        before = sum(self.crowd.answers.values())
        yield
        self.stand.await_rest()
        self.crowd.settle()
        self.read()
        counts = self.counts.setdefault(name, Counter())
        counts["times"] += times
        counts["answers"] += sum(self.crowd.answers.values()) - before
        self._check_incidents(name, kinds.split(), counts)
        self._check_log(name, records)

    def _check_incidents(self, name: str, allowed: list[str], counts: Counter[str]) -> None:
        taken = self.crowd.take()
        begun = sum((site.begun() for site in self.stand.sites), Counter())
        for token, times in begun.items():
            if times + self._begun[token] > 1 and token != "none":
                self.find(name, f"{token} was begun {times + self._begun[token]} times")
        for incident in taken:
            kind = incident.kind
            is_begun = incident.token in begun or incident.token in self._begun
            if kind == "502" and not is_begun:
                kind = "502, not noted"  # it died between the core and the application's first line
            counts[f"{kind} {incident.error}".strip()] += 1
            if kind.split(",")[0] not in allowed or (kind in ("lost", "503") and is_begun):
                self.find(
                    name, f"{kind}{' (begun)' * is_begun} {incident.token}: {incident.detail}"
                )
        self._begun = begun  # those of the phase before may still be in the next one's list

    def _check_log(self, name: str, allowed: str) -> None:
        for record in self.records:
            text = str(record.get("msg")) + str(record.get("error", ""))
            if record["level"] in ("debug", "info") and not PANIC.search(text):
                continue
            is_answer = record.get("logger", "").startswith("http.log.error")
            if is_answer and record.get("status") in (502, 503):
                continue  # the clients know whether it may be
            if not re.search(f"{ALWAYS}|{allowed}" if allowed else ALWAYS, text):
                self.find(name, f"log: {str(record)[:600]}")
        self.records = []
        output = self.stand.output.read_text(errors="replace")
        if PANIC.search(output):
            self.find(name, f"output: {output[-2000:]}")

    def find(self, name: str, what: str) -> None:
        self.findings.append(what)
        if len(self.findings) <= 200:
            print(f"FOUND in {name}: {what}", file=sys.stderr, flush=True)

    def read(self) -> list[dict[str, Any]]:
        self.records += self.stand.log.new()
        return self.records

    def await_record(self, pattern: str) -> None:
        wait_for(
            lambda: any(re.search(pattern, str(r.get("msg"))) for r in self.read()),
            f"a record '{pattern}'",
        )

    # The phases.

    def autoreloads(self) -> None:
        with self.phase("autoreload", self.times, "1012"):
            for number in range(self.times):
                site = self.stand.sites[number % 3]
                site.edit()
                self.await_version(site)

    def forced_reloads(self) -> None:
        """Caddy closes connections without an answer when it replaces its listeners."""
        with self.phase("forced reload", self.times, "1012 lost"):
            for _ in range(self.times):
                for site in self.stand.sites:
                    site.deploy()
                if (status := self.stand.load_by_force()) != 200:
                    self.find("forced reload", f"status {status}")
                for site in self.stand.sites:
                    site.floor = site.newest
                    self.await_version(site)

    def kills(self) -> None:
        with self.phase("SIGKILL", self.times, "502 503 broken 1011", CRASH):
            for _ in range(self.times):
                site = random.choice(self.stand.sites)
                self.await_all(site)
                victim = random.choice(list(self.crowd.workers(site)))
                kind = "healthy" if age(victim) > HEALTHY else "young"
                os.kill(victim, signal.SIGKILL)
                self.recovery[kind].append(self.await_all(site, victim))
            self.read()
            ends = [r["end"] for r in self.records if "ended unexpectedly" in r["msg"]]
            if ends != ["signal 9 (killed)"] * self.times:
                self.find("SIGKILL", f"the log says {Counter(ends)}")

    def segfault(self) -> None:
        with self.phase("segfault", 1, "502 503 broken 1011", CRASH):
            self.expect_502(self.stand.page, "/segfault")
            self.await_record("ended unexpectedly")
            if not any("signal 11" in str(r.get("end")) for r in self.records):
                self.find("segfault", "the log does not name signal 11")

    def stuck_loop(self) -> None:
        with self.phase("stuck loop", 1, "502 503 broken 1011", STUCK):
            self.expect_502(self.stand.chat, "/hang")

    def held_lock(self) -> None:
        with self.phase("held lock", 1, "502 503 broken", STUCK):
            self.expect_502(self.stand.shop, "/hold")

    def memory(self) -> None:
        with self.phase("memory", 1):
            wait_for(self.eaten, "a worker that is replaced")

    def eaten(self) -> bool:
        if (status := self.stand.post(self.stand.page, "/eat")) != 200:
            self.find("memory", f"status {status}")
        time.sleep(0.5)
        return any(r["msg"] == "python worker is replaced" for r in self.read())

    def broken_module(self) -> None:
        site = self.stand.page
        with self.phase("broken module", 1, "1012", BROKEN_MODULE):
            site.damage()
            self.await_record("reloading python app failed")
            self.crowd.settle()
            if (status := self.stand.load_by_force()) != 400:
                self.find("broken module", f"status {status}")
            self.crowd.settle()
            site.repair()
            self.await_version(site)

    def full_disk(self) -> None:
        if not self.stand.is_mounted:
            return
        with self.phase("full disk", 1, "1012"):
            filler = self.stand.disk / "filler"
            with filler.open("wb", buffering=0) as file:
                try:
                    while True:
                        file.write(bytes(4096))
                except OSError:
                    pass
            for site in self.stand.sites:
                site.edit()
                self.await_version(site)
            self.crowd.settle()
            filler.unlink()
            self.stand.page.edit()
            self.await_version(self.stand.page)
            self.await_record("python app reloaded")

    def expect_502(self, site: Site, path: str) -> None:
        """Asks for something that ends a worker. The other sites answer meanwhile."""
        known = self.await_all(site) and self.crowd.workers(site)
        answers: list[int] = []
        thread = threading.Thread(target=lambda: answers.append(self.stand.post(site, path)))
        thread.start()
        while thread.is_alive():
            self.crowd.forget()
            for other in self.stand.sites:
                if other is not site:
                    self.await_all(other)
            thread.join(0.5)
        if answers != [502]:
            self.find(path, f"status {answers}")
        wait_for(lambda: self.crowd.workers(site) - known, f"a successor of {site.name}")

    # Conditions.

    def await_version(self, site: Site) -> None:
        version = site.newest
        wait_for(lambda: self.crowd.has_seen(site, version), f"version {version} of {site.name}")
        site.floor = version

    def await_all(self, site: Site, dead: int = 0) -> float:
        """Waits until every worker of a site has answered; returns how long that took."""
        self.crowd.forget()
        return wait_for(
            lambda: len(self.crowd.workers(site) - {dead}) == WORKERS, f"all workers of {site.name}"
        )

    def round(self) -> None:
        phases: list[Callable[[], None]] = [
            self.autoreloads, self.forced_reloads, self.kills, self.segfault, self.stuck_loop,
            self.held_lock, self.broken_module, self.full_disk, self.memory,
        ]  # fmt: skip
        random.shuffle(phases)
        for phase in phases:
            phase()

    # Figures.

    def memory_row(self, minute: float) -> str:
        pid = self.stand.server.pid
        caddy, zygotes, workers = (
            usage_of(pids) for pids in ([pid], children(pid, ZYGOTE), children(pid, WORKER))
        )
        live = self.profile("heap?gc=1&debug=1", r"# HeapAlloc = (\d+)")
        goroutines = self.profile("goroutine?debug=1", r"total (\d+)")
        cells = [
            f"{minute:.0f}", mib(caddy.private), mib(caddy.proportional),
            f"{live / 2**20:.1f}", goroutines,
            caddy.threads, caddy.descriptors,
            f"{zygotes.processes}: {mib(zygotes.private)}, {mib(zygotes.proportional)}",
            f"{workers.processes}: {mib(workers.private)}, {mib(workers.proportional)}",
            workers.threads, workers.descriptors,
        ]  # fmt: skip
        return f"| {' | '.join(map(str, cells))} |"

    def profile(self, name: str, pattern: str) -> int:
        """Returns a number of one of Go's profiles, which Caddy's admin endpoint has."""
        url = f"http://127.0.0.1:{self.stand.admin}/debug/pprof/{name}"
        with urllib.request.urlopen(url) as response:
            found = re.search(pattern, response.read().decode())
        return int(found[1]) if found else 0

    def summary(self) -> Iterator[str]:
        yield "\n| | times | answers | everything else |\n|---|--:|--:|---|"
        for name, counts in self.counts.items():
            others = {k: n for k, n in sorted(counts.items()) if k not in ("times", "answers")}
            text = ", ".join(f"{n} {kind}" for kind, n in others.items()) or "-"
            yield f"| {name} | {counts['times']} | {counts['answers']:,} | {text} |"
        yield "\n| from SIGKILL to an answer of all four workers, s | n | median | max |"
        yield "|---|--:|--:|--:|"
        for kind, values in self.recovery.items():
            if values:
                median, most = statistics.median(values), max(values)
                yield f"| {kind} | {len(values)} | {median:.3f} | {most:.3f} |"
        yield f"\nFindings: {len(self.findings)}"


def mib(size: int) -> str:
    return f"{size / 2**20:.0f}"


def age(pid: int) -> float:
    """Returns the age of a process in seconds."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    uptime = float(Path("/proc/uptime").read_text().split()[0])
    return uptime - int(fields[19]) / os.sysconf("SC_CLK_TCK")


def main() -> None:
    parser = argparse.ArgumentParser(description="Endurance of workers under load and harm.")
    parser.add_argument("--caddy", type=Path, default=Path("bin/caddy"))
    parser.add_argument("--venv", type=Path, default=Path(sys.prefix))
    parser.add_argument("--rounds", type=int, default=10, help="at least")
    parser.add_argument("--minutes", type=float, default=0, help="at least")
    parser.add_argument("--times", type=int, default=10, help="reloads and kills per round")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        stand = Stand(options.caddy, options.venv, Path(name), BROWSERS)
        try:
            run(stand, options)
        finally:
            stand.close()


def run(stand: Stand, options: argparse.Namespace) -> None:
    crowd = Crowd(stand)
    soak = Soak(stand, crowd, options.times)
    begin = time.monotonic()
    try:
        with soak.phase("start", 1):
            pass
        print(HEAD, soak.memory_row(0), sep="\n", flush=True)
        rounds, minutes = 0, 0.0
        while rounds < options.rounds or minutes < options.minutes:
            soak.round()
            rounds, minutes = rounds + 1, (time.monotonic() - begin) / 60
            print(soak.memory_row(minutes), flush=True)
    finally:
        crowd.close()
        print(*soak.summary(), sep="\n", flush=True)
    raise SystemExit(bool(soak.findings))


if __name__ == "__main__":
    main()
