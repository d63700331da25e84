"""A measurement: one window of wrk on one port, and the CPU time of the servers in that window."""

import json
import os
import subprocess
import time
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

REPORT_SCRIPT = Path(__file__).resolve().parent / "report.lua"
SPREAD_SCRIPT = REPORT_SCRIPT.with_name("spread.lua")
TICKS = os.sysconf("SC_CLK_TCK")

# Headers of a browser: `--headers N` adds the first N of these to each request.
HEADERS = (
    "User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0",
    "Accept: text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8",
    "Accept-Language: en-US,en;q=0.5",
    "Accept-Encoding: gzip, deflate, br, zstd",
    "Cookie: session=0123456789abcdef0123456789abcdef; theme=dark",
    "Referer: http://127.0.0.1/some/other/page",
    "Sec-Fetch-Dest: document",
    "Sec-Fetch-Mode: navigate",
    "Sec-Fetch-Site: same-origin",
    "Cache-Control: max-age=0",
)

# The machine counts as quiet while other processes use less than this share of one core ...
QUIET_BEFORE = 0.30  # ... in a short interval before a window
QUIET_DURING = 0.15  # ... in a whole window
LOOK = 0.2  # seconds: the length of that interval
PATIENCE = 5.0  # seconds to wait for a quiet moment before measuring anyway


@dataclass(frozen=True, slots=True)
class Load:
    """Options of wrk."""

    seconds: int
    connections: int
    headers: int
    hosts: Sequence[str] = ()  # values of the Host header, in turn; empty: the loopback address


@dataclass(frozen=True, slots=True)
class Sample:
    """The results of one window."""

    requests: int
    failed: int  # socket errors and answers other than 2xx and 3xx
    rps: float
    p50_ms: float
    p99_ms: float
    cpu_us: float  # per request, all processes of the target
    others: float  # cores used by processes other than the target and wrk

    @property
    def quiet(self) -> bool:
        return self.others < QUIET_DURING


def run_window(port: int, roots: Sequence[int], load: Load, *, patient: bool = True) -> Sample:
    """Load a port whose servers are the processes `roots` and their descendants. If `patient`, wait
    until the machine is quiet."""
    if patient:
        wait_until_quiet()
    pids = process_trees(roots)
    servers, machine, wrk = cpu_seconds(pids), machine_busy_seconds(), reaped_seconds()
    start = time.monotonic()
    result = _wrk(port, load)
    elapsed = time.monotonic() - start
    wrk, machine = reaped_seconds() - wrk, machine_busy_seconds() - machine
    servers = cpu_seconds(pids) - servers
    requests = result["requests"]
    return Sample(
        requests=requests,
        failed=result["failed"],
        rps=requests / (result["duration_us"] / 1e6),
        p50_ms=result["p50_us"] / 1e3,
        p99_ms=result["p99_us"] / 1e3,
        cpu_us=servers * 1e6 / max(1, requests),
        others=max(0.0, machine - servers - wrk) / elapsed,
    )


def wait_until_quiet() -> None:
    """Wait until the machine is quiet, at most `PATIENCE` seconds."""
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        before = machine_busy_seconds()
        time.sleep(LOOK)
        if machine_busy_seconds() - before <= QUIET_BEFORE * LOOK:
            return


def process_trees(roots: Iterable[int]) -> list[int]:
    """Return the processes and all their descendants."""
    pids = []
    pending = list(roots)
    while pending:
        pid = pending.pop()
        pids.append(pid)
        with suppress(FileNotFoundError, ProcessLookupError):  # the process has ended
            for children in Path(f"/proc/{pid}/task").glob("*/children"):
                with suppress(FileNotFoundError, ProcessLookupError):  # the thread has ended
                    pending += map(int, children.read_text().split())
    return pids


def cpu_seconds(pids: Iterable[int]) -> float:
    """Return user and system time of the processes, including threads that have ended."""
    ticks = 0
    for pid in pids:
        stat = Path(f"/proc/{pid}/stat").read_text()
        fields = stat.rpartition(")")[2].split()  # the name before ")" may contain spaces
        ticks += int(fields[11]) + int(fields[12])
    return ticks / TICKS


def machine_busy_seconds() -> float:
    """Return the CPU time of the whole machine; stolen time counts, guests count once."""
    with open("/proc/stat") as stat:
        user, nice, system, _idle, _iowait, irq, softirq, steal = map(
            int, stat.readline().split()[1:9]
        )
    return (user + nice + system + irq + softirq + steal) / TICKS


def reaped_seconds() -> float:
    """Return the CPU time of this process's ended children: between two calls, that of wrk."""
    times = os.times()
    return times.children_user + times.children_system


def _wrk(port: int, load: Load) -> dict[str, int]:
    threads = min(2, load.connections, os.cpu_count() or 1)
    command = ["wrk", f"-t{threads}", f"-c{load.connections}", f"-d{load.seconds}s"]
    command += ["-s", str(SPREAD_SCRIPT if load.hosts else REPORT_SCRIPT)]
    for header in HEADERS[: load.headers]:
        command += ["-H", header]
    command.append(f"http://127.0.0.1:{port}/")
    if load.hosts:
        command += ["--", *load.hosts]
    run = subprocess.run(
        command, capture_output=True, text=True, check=True, timeout=load.seconds + 30
    )
    result: dict[str, int] = json.loads(run.stdout.splitlines()[-1])
    return result
