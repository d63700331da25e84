#!/usr/bin/env python3
"""Compares this plugin with Caddy's `respond` and with Caddy in front of other Python servers.

All servers run at the same time on loopback ports. Each round loads them one after the other, so
that other activity on the machine affects all of them alike. README.md explains the results.
"""

import argparse
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import report
import targets
from measure import HEADERS, Load, Sample, run_window
from servers import Server, ServerError, free_ports
from targets import APPS_DIR, BASELINE, EXPECTED_BODY, Target

HERE = Path(__file__).resolve().parent
PACKAGES = ("granian", "pyvoy", "uvicorn", "gunicorn", "flask", "fastapi", "uvloop")
SETTINGS = ("seconds", "rounds", "connections", "headers", "workers", "gomaxprocs", "only")
PLUGINS = (targets.PLUGIN, targets.WORKERS)


@dataclass(slots=True)
class Endpoint:
    """The port of a target, and the servers behind it."""

    port: int
    servers: list[Server]


class Bench:
    """The running servers of one benchmark."""

    def __init__(self, options: argparse.Namespace, rows: Sequence[Target], stack: ExitStack):
        self._options = options
        self._rows = rows
        self._stack = stack
        self._dir = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bench-")))
        # Caddy keeps its state in the temporary folder, not in the user's home.
        self._env = dict(os.environ, XDG_DATA_HOME=str(self._dir), XDG_CONFIG_HOME=str(self._dir))
        # The variable would override the setting of --gomaxprocs.
        self._env.pop("GOMAXPROCS", None)
        self.endpoints: dict[Target, Endpoint] = {}

    def start(self) -> None:
        """Start every server and wait until each row gives the expected answer."""
        backends = self._start_backends()
        in_caddy = [row for row in self._rows if row.server in (targets.RESPOND, *PLUGINS)]
        proxied = [row for row in self._rows if row.proxied]
        earlier = [row for row in self._rows if row.server == targets.EARLIER]
        self._start_caddy("caddy", in_caddy, [self._directive(row) for row in in_caddy])
        if earlier:
            directives = [self._directive(row) for row in earlier]
            self._start_caddy("caddy-earlier", earlier, directives, self._options.earlier)
        # A Caddy of its own: it has no Python in it and uses all cores, as in production.
        if proxied:
            directives = [targets.proxy_directive(backends[row].port) for row in proxied]
            self._start_caddy("caddy-proxy", proxied, directives)
            for row in proxied:
                self.endpoints[row].servers += backends.pop(row).servers
        self.endpoints |= backends

    def _start_backends(self) -> dict[Target, Endpoint]:
        rows = [row for row in self._rows if row.proxied or row.server == targets.PYVOY]
        backends = {}
        for row, port in zip(rows, free_ports(len(rows)), strict=True):
            arguments = targets.backend_command(row, port, self._options.workers)
            command = [str(self._options.venv / "bin" / "python"), "-m", *arguments]
            backends[row] = Endpoint(port, [self._spawn(row.name, command, APPS_DIR)])
        for backend in backends.values():
            backend.servers[0].wait_ready(backend.port, EXPECTED_BODY)
        return backends

    def _directive(self, row: Target) -> str:
        if row.app is None:
            return targets.respond_directive()
        workers = self._options.workers if row.server == targets.WORKERS else 0
        return targets.plugin_directive(row.app, self._options.venv, workers)

    def _start_caddy(
        self,
        name: str,
        rows: Sequence[Target],
        directives: Sequence[str],
        binary: Path | None = None,
    ) -> None:
        ports = free_ports(len(rows))
        uses_plugin = any(row.app and not row.proxied for row in rows)
        spare_off = uses_plugin and self._options.gomaxprocs == "default"
        config = self._dir / f"{name}.caddyfile"
        config.write_text(
            targets.caddyfile(
                zip(ports, directives, strict=True),
                ["python {", "\tspare_core off", "}"] if spare_off else [],
            )
        )
        command = [str(binary or self._options.caddy), "run", "--config", str(config)]
        server = self._spawn(name, [*command, "--adapter", "caddyfile"], self._dir)
        for row, port in zip(rows, ports, strict=True):
            server.wait_ready(port, EXPECTED_BODY)
            self.endpoints[row] = Endpoint(port, [server])

    def _spawn(self, name: str, command: Sequence[str], cwd: Path) -> Server:
        log = self._dir / (name.replace(" ", "-") + ".log")
        return self._stack.enter_context(Server(name, command, cwd, self._env, log))

    def run(self) -> dict[Target, list[Sample]]:
        """Warm up, then measure every row in every round."""
        load = Load(self._options.seconds, self._options.connections, self._options.headers)
        samples: dict[Target, list[Sample]] = {row: [] for row in self._rows}
        progress(f"warming up {len(self._rows)} targets")
        for row in self._rows:
            self._window(row, Load(1, load.connections, load.headers))
        for number in range(self._options.rounds):
            progress(f"round {number + 1} of {self._options.rounds}")
            # In alternating order, so that no target always follows the same neighbour.
            for row in self._rows if number % 2 == 0 else reversed(self._rows):
                samples[row].append(self._window(row, load))
        return samples

    def _window(self, row: Target, load: Load) -> Sample:
        endpoint = self.endpoints[row]
        try:
            return run_window(endpoint.port, [server.pid for server in endpoint.servers], load)
        except (OSError, subprocess.SubprocessError) as error:  # a process ended, or wrk failed
            raise endpoint.servers[-1].failure(f"{row.name} can't be measured: {error}") from error
        finally:
            for server in endpoint.servers:
                server.check_running()


def progress(text: str) -> None:
    """Print progress to standard error: standard output is for the table."""
    print(text, file=sys.stderr, flush=True)


def command_output(*command: str) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def describe(options: argparse.Namespace) -> dict[str, Any]:
    """Describe the set-up, for the line above the table and for the JSON file."""
    ask = "import importlib.metadata as m, platform; print('python', platform.python_version())"
    ask += f"; [print(name, m.version(name)) for name in {PACKAGES}]"
    lines = command_output(str(options.venv / "bin" / "python"), "-c", ask).splitlines()
    return {
        "date": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "machine": report.machine(),
        "versions": {
            "caddy": command_output(str(options.caddy), "version").split()[0],
            **dict(line.split() for line in lines),
        },
        "options": {name: getattr(options, name) for name in SETTINGS},
    }


def headline(setup: Mapping[str, Any]) -> str:
    versions, machine, options = setup["versions"], setup["machine"], setup["options"]
    software = ", ".join(f"{name} {version}" for name, version in versions.items())
    return (
        f"{machine['cores']} cores ({machine['cpu']}), GOMAXPROCS {options['gomaxprocs']}, "
        f"{options['connections']} connections, {options['headers']} extra headers, "
        f"{options['workers']} worker(s), "
        f"{options['rounds']} rounds of {options['seconds']} s; {software}"
    )


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    add = parser.add_argument
    add("--caddy", type=Path, default=HERE.parent / "bin" / "caddy", help="binary (bin/caddy)")
    add("--venv", type=Path, help="with requirements.txt installed (default: the one running this)")
    add("--seconds", type=positive, default=2, help="length of one window (2)")
    add("--rounds", type=positive, default=7, help="windows per target (7)")
    add("--connections", type=positive, default=64, help="kept alive by wrk (64)")
    add("--headers", type=int, choices=range(len(HEADERS) + 1), default=0, metavar="N",
        help=f"request headers besides Host: 0 to {len(HEADERS)} (0)")  # fmt: skip
    add("--workers", type=positive, default=1, help="of each Python server that has some (1)")
    add("--earlier", type=Path, metavar="CADDY", help="also measure this binary, in process")
    add("--only", default="", metavar="REGEX", help="targets to compare with `respond`")
    add("--extra", action="store_true", help="streaming and slow apps, too")
    add("--gomaxprocs", choices=("spare", "default"), default="spare",
        help="spare: one core left to Python, as installed; default: `spare_core off`")  # fmt: skip
    add("--json", type=Path, metavar="FILE", help="(benchmarks/results/TIME.json)")
    options = parser.parse_args()
    # absolute(), not resolve(): the path of a venv must not be replaced by its link target.
    options.caddy = options.caddy.absolute()
    options.venv = (options.venv or Path(sys.prefix)).absolute()
    if options.json is None:
        options.json = HERE / "results" / time.strftime("%Y%m%d-%H%M%S.json")
    try:
        re.compile(options.only)
    except re.error as error:
        parser.error(f"--only: {error}")
    if not os.access(options.caddy, os.X_OK):
        parser.error(f"no Caddy at {options.caddy}: run `make build` or pass --caddy")
    if options.earlier is not None:
        options.earlier = options.earlier.absolute()
        if not os.access(options.earlier, os.X_OK):
            parser.error(f"no Caddy at {options.earlier}")
    if not (options.venv / "pyvenv.cfg").is_file():
        parser.error("not a virtual environment: run `make bench`, or pass --venv")
    if shutil.which("wrk") is None:
        parser.error("wrk is not installed: apt-get install wrk")
    return options


def positive(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError("must be at least 1")
    return value


def main() -> None:
    options = parse_arguments()
    # An exception, so that `kill` stops the servers, too.
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))
    plugin = "http.handlers.python" in command_output(str(options.caddy), "list-modules").split()
    if not plugin:
        progress(f"{options.caddy} lacks the plugin: measuring the other targets only")
    without = () if plugin else PLUGINS
    if options.earlier is None:
        without += (targets.EARLIER,)
    rows = targets.select(options.only, extra=options.extra, without=without)
    setup = describe(options)
    with ExitStack() as stack:
        bench = Bench(options, rows, stack)
        bench.start()
        samples = bench.run()
    summaries = {row: report.summarise(samples[row], samples[BASELINE]) for row in rows}
    report.write_json(options.json, setup, summaries, samples)
    print(headline(setup), report.main_table(summaries, options.rounds), sep="\n\n")
    if ratios := report.ratio_table(summaries):
        print("\n" + ratios)
    progress(f"written to {options.json}")


if __name__ == "__main__":
    try:
        main()
    except ServerError as error:
        sys.exit(str(error))
    except KeyboardInterrupt:
        sys.exit(130)
