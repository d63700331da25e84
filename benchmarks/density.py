"""Measures many apps in one Caddy, all with the same module name, each in its own directory: memory
and load time per further app, and CPU time per request with traffic on one or on all.

    python benchmarks/density.py --caddy bin/caddy [--only 'fastapi|django'] [--static]

README.md explains the results.
"""

from __future__ import annotations

import argparse
import http.client
import json
import os
import re
import resource
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from measure import Load, Sample, run_window
from servers import Server, free_ports

SOURCES = Path(__file__).resolve().parent / "apps" / "tenants"
DOMAIN = "density.test"


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of tenant. The framework is also the name of its folder in `apps/tenants`."""

    framework: str
    interface: str
    loop: str = ""  # ASGI only

    @property
    def name(self) -> str:
        return f"{self.framework}, {self.loop}" if self.loop else self.framework


ASYNCIO = Kind("fastapi", "asgi", "asyncio")
UVLOOP = Kind("fastapi", "asgi", "uvloop")
FLASK = Kind("flask", "wsgi")
DJANGO = Kind("django", "wsgi")


class Tenants:
    """A running Caddy with `count` tenants."""

    def __init__(
        self,
        options: argparse.Namespace,
        kind: Kind,
        count: int,
        folder: Path,
        extra: Sequence[str] = (),
    ) -> None:
        self.kind, self.count = kind, count
        self._extra = extra
        self._folder = folder
        self._options = options
        (self.port,) = free_ports(1)
        for number in range(count):
            target = folder / "tenants" / f"t{number}"
            skip = shutil.ignore_patterns("__pycache__")
            shutil.copytree(SOURCES / kind.framework, target, ignore=skip)
            (target / "tenant.py").write_text(f'NAME = "t{number}"\n')
        config = folder / "Caddyfile"
        config.write_text(self._static() if options.static else self._dynamic())
        command = [str(options.caddy.resolve()), "run", "--config", str(config)]
        self.server = Server("caddy", command, folder, os.environ, folder / "log")

    def _block(self, directory: str) -> str:
        lines = [f'module_{self.kind.interface} "main:app"', f'working_dir "{directory}"']
        lines.append(f'venv "{self._options.venv}"')
        if self.kind.loop:
            lines.append(f"loop {self.kind.loop}")
        lines += self._extra
        return "python {\n" + "".join(f"\t\t{line}\n" for line in lines) + "\t}"

    def _caddyfile(self, sites: Sequence[tuple[str, str]]) -> str:
        lines = ["{", "\tadmin off", "\tpersist_config off", "}"]
        for host, directive in sites:
            lines += [f"http://{host}:{self.port} {{", "\tbind 127.0.0.1", f"\t{directive}", "}"]
        return "\n".join(lines) + "\n"

    def _static(self) -> str:
        tenants = self._folder / "tenants"
        names = [f"t{number}" for number in range(self.count)]
        return self._caddyfile(
            [(f"{name}.{DOMAIN}", self._block(f"{tenants}/{name}")) for name in names]
        )

    def _dynamic(self) -> str:
        directory = f"{self._folder}/tenants/{{http.request.host.labels.2}}"
        return self._caddyfile([(f"*.{DOMAIN}", self._block(directory))])

    def wait_until_listening(self) -> None:
        while True:
            self.server.check_running()
            connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
            try:
                connection.connect()
                return
            except OSError:
                time.sleep(0.02)
            finally:
                connection.close()

    def ask(self, numbers: Sequence[int]) -> list[float]:
        """Sends a request to each of these tenants in turn; returns the seconds that each took."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        seconds = []
        for number in numbers:
            begin = time.perf_counter()
            connection.request("GET", "/", headers={"Host": self.host(number)})
            response = connection.getresponse()
            answer = response.read()
            seconds.append(time.perf_counter() - begin)
            if response.status != 200 or json.loads(answer)["tenant"] != f"t{number}":
                raise self.server.failure(f"t{number} answered {response.status} {answer!r}")
        connection.close()
        return seconds

    def edit(self, number: int, code: str) -> None:
        """Inserts code at the beginning of a tenant's module."""
        module = self._folder / "tenants" / f"t{number}" / "main.py"
        module.write_text(code + module.read_text())

    def longest(self, number: int, seconds: float) -> float:
        """Sends a request to a tenant every 2 ms; returns the longest time of one in seconds."""
        end = time.monotonic() + seconds
        longest = 0.0
        while time.monotonic() < end:
            longest = max(longest, *self.ask([number]))
            time.sleep(0.002)
        return longest

    def host(self, number: int) -> str:
        return f"t{number}.{DOMAIN}"

    def window(self, numbers: Sequence[int], *, patient: bool = True) -> Sample:
        """Runs a window of traffic on these tenants, in turn."""
        hosts = tuple(map(self.host, numbers))
        load = Load(self._options.seconds, self._options.connections, 0, hosts)
        sample = run_window(self.port, [self.server.pid], load, patient=patient)
        self.server.check_running()
        if sample.failed:
            raise self.server.failure(f"{sample.failed} requests failed")
        return sample


@contextmanager
def tenants(
    options: argparse.Namespace, kind: Kind, count: int, extra: Sequence[str] = ()
) -> Iterator[Tenants]:
    with tempfile.TemporaryDirectory(prefix="density-") as name:
        running = Tenants(options, kind, count, Path(name), extra)
        with running.server:
            begin = time.monotonic()
            running.wait_until_listening()
            progress(f"{kind.name}: {count:,} tenants in {time.monotonic() - begin:.1f} s")
            yield running


def usage(pid: int) -> tuple[float, int, int]:
    """Returns the resident MiB, threads and descriptors of a process."""
    status = Path(f"/proc/{pid}/status").read_text()
    fields = dict(line.split(":", 1) for line in status.splitlines())
    descriptors = len(list(Path(f"/proc/{pid}/fd").iterdir()))
    return int(fields["VmRSS"].split()[0]) / 1024, int(fields["Threads"]), descriptors


def further(options: argparse.Namespace, kind: Kind, counts: Sequence[int]) -> None:
    """Prints the cost of each further tenant, for each number of tenants in `counts`."""
    for count in counts:
        begin = time.monotonic()
        if options.static:  # Caddy loads the apps before it listens
            with tenants(options, kind, 1) as one:
                one_seconds = time.monotonic() - begin
                one.ask([0])
                before = usage(one.server.pid)
            begin = time.monotonic()
        with tenants(options, kind, count) as many:
            if options.static:
                each = (time.monotonic() - begin - one_seconds) / (count - 1)
                many.ask(range(count))
            else:
                many.ask([0])
                before = usage(many.server.pid)
                each = statistics.median(many.ask(range(1, count)))
            after = usage(many.server.pid)
            warm = statistics.median(many.ask(range(count)))
        mib, threads, descriptors = (
            (b - a) / (count - 1) for a, b in zip(before, after, strict=True)
        )
        print(
            f"| {kind.name} | {count:,} | {mib:.3f} | {each * 1000:.1f} | {threads:.2f} | "
            f"{descriptors:.2f} | {warm * 1000:.2f} |",
            flush=True,
        )


def compare(
    options: argparse.Namespace, one: Callable[[], Sample], other: Callable[[], Sample], name: str
) -> None:
    """Prints the CPU time per request of two kinds of windows, which alternate."""
    one(), other()
    pairs = []
    for number in range(options.rounds):
        progress(f"round {number + 1} of {options.rounds}")
        if number % 2:
            second = other()
            pairs.append((one(), second))
        else:
            pairs.append((one(), other()))
    first, second = (
        statistics.median(s.cpu_us for s in column) for column in zip(*pairs, strict=True)
    )
    ratios = sorted(b.cpu_us / a.cpu_us for a, b in pairs)
    rates = [statistics.median(s.rps for s in column) for column in zip(*pairs, strict=True)]
    print(
        f"| {name} | {first:.0f} | {second:.0f} | {statistics.median(ratios):.2f} | "
        f"{ratios[0]:.2f}-{ratios[-1]:.2f} | {rates[0]:,.0f} | {rates[1]:,.0f} |",
        flush=True,
    )


def loaded(options: argparse.Namespace, kind: Kind) -> None:
    """Measures traffic on one app, alone and with many others loaded."""
    with tenants(options, kind, 1) as alone, tenants(options, kind, options.tenants) as many:
        many.ask(range(many.count))
        name = f"{kind.name}: 1 of {many.count:,} apps, against it alone"
        compare(options, lambda: alone.window([0]), lambda: many.window([0]), name)


def spread(options: argparse.Namespace, kind: Kind) -> None:
    """Measures traffic on one of several apps, and on all of them in turn."""
    with tenants(options, kind, options.spread) as many:
        numbers = range(many.count)
        many.ask(numbers)
        middle = [many.count // 2]  # a static configuration is searched from its beginning
        name = f"{kind.name}: {many.count} apps in turn, against one of them"
        compare(options, lambda: many.window(middle), lambda: many.window(numbers), name)


IMPORTS = {
    "computes": "while time.monotonic() < end: sum(range(1000))",
    "waits": "time.sleep(end - time.monotonic())",
}


def importing(options: argparse.Namespace, kind: Kind) -> None:
    """Measures traffic on one app, alone and during another app's import of ten seconds."""
    for what, line in IMPORTS.items():
        with tenants(options, kind, 2) as two:
            two.ask([0])
            two.edit(1, f"import time\nend = time.monotonic() + 10\n{line}\n")
            before = [two.window([0], patient=False) for _ in range(3)]
            with ThreadPoolExecutor(1) as pool:
                slow = pool.submit(two.ask, [1])
                during = [two.window([0], patient=False) for _ in range(3)]
                if slow.done():
                    raise two.server.failure("the import has ended too early")
                slow.result()
        numbers = [
            f"{statistics.median(getattr(s, field) for s in samples):{spec}}"
            for field, spec in (("p50_ms", ".2f"), ("p99_ms", ".2f"), ("rps", ",.0f"))
            for samples in (before, during)
        ]
        print(f"| {kind.name}: another's import {what} | {' | '.join(numbers)} |", flush=True)


def reloading(options: argparse.Namespace, kind: Kind, count: int) -> None:
    """Measures requests to one app, at rest and while others are reloaded one after the other."""
    with tenants(options, kind, count, ["autoreload {\n\t\t\tdebounce 50ms\n\t\t}"]) as many:
        many.ask(range(count))
        rest, busy = [], []
        for number in range(options.rounds):
            rest.append(many.longest(count - 1, options.seconds))
            many.edit(number, "# edited\n")
            busy.append(many.longest(count - 1, options.seconds))
        numbers = [
            f"{1000 * number:.1f}"
            for waits in (rest, busy)
            for number in (statistics.median(waits), max(waits))
        ]
        print(f"| {kind.name}: 1 of {count:,} is reloaded | {' | '.join(numbers)} |", flush=True)


def progress(text: str) -> None:
    """Prints progress to standard error: standard output is for the tables."""
    print(text, file=sys.stderr, flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--caddy", type=Path, default=Path("bin/caddy"))
    parser.add_argument("--venv", type=Path, default=Path(sys.prefix))
    parser.add_argument("--static", action="store_true", help="one block per tenant")
    parser.add_argument("--only", default="", metavar="REGEX", help="these lines")
    parser.add_argument("--tenants", type=int, default=1000)
    parser.add_argument("--most", type=int, default=5000, help="0: leave it out")
    parser.add_argument("--sites", type=int, default=50, help="of Django")
    parser.add_argument("--spread", type=int, default=100, help="apps that get traffic in turn")
    parser.add_argument("--seconds", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--connections", type=int, default=64)
    options = parser.parse_args()
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))

    def table(head: str, lines: Sequence[tuple[str, Kind, Callable[[], None]]]) -> None:
        """Prints the lines of a table that --only selects, and its head if there are any."""
        chosen = [
            line for what, kind, line in lines if re.search(options.only, f"{what} {kind.name}")
        ]
        if chosen:
            print(f"\n{head}\n|---|{'--:|' * (head.count(' | '))}", flush=True)
        for line in chosen:
            line()

    counts = [options.tenants, *([options.most] if options.most else [])]
    table(
        "| each further app | of | MiB | ms | threads | descriptors | ms per request later |",
        [
            ("memory", kind, partial(further, options, kind, counts))
            for kind, counts in ((ASYNCIO, counts), (UVLOOP, counts), (DJANGO, [options.sites]))
        ],
    )
    table(
        "| CPU µs per request | one | other | ratio | of rounds | req/s one | other |",
        [
            (what.__name__, kind, partial(what, options, kind))
            for what in (loaded, spread)
            for kind in (ASYNCIO, UVLOOP, FLASK)
        ],
    )
    heads = " | ".join(f"{what} before | {what}" for what in ("p50", "p99", "req/s"))
    table(
        f"| ms, while one app is imported | {heads} |",
        [("importing", kind, partial(importing, options, kind)) for kind in (ASYNCIO, FLASK)],
    )
    table(
        "| longest ms for another app | at rest: median | most | then: median | most |",
        [
            ("reloading", kind, partial(reloading, options, kind, count))
            for kind, count in ((ASYNCIO, options.tenants), (DJANGO, options.sites))
        ],
    )


if __name__ == "__main__":
    main()
