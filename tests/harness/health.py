"""What must hold after every test: nothing unexpected logged, nothing grown, everyone answering."""

from __future__ import annotations

import json
import re
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from harness import http1, proc
from harness.log import Expectation, Record
from harness.settings import HOME
from harness.waiting import wait_for

if TYPE_CHECKING:
    from harness.server import Server

SETTLE_DEADLINE = 5.0
DYING_DEADLINE = 3.0

# How the names of the WSGI pool's threads begin, for the kernel and for Python.
POOL = "wsgi"


@dataclass(frozen=True)
class Slack:
    """How much more than at the start may be left after a test.

    threads: Go's runtime adds a thread when all of its own are in system calls, and keeps it.
    wsgi_threads: the WSGI pool's threads leave after 30 idle seconds, too late for a test to see.
        A test of an app with more `threads` needs more here.
    python_threads: threads that Python code started. None by default; an app with an executor
        keeps that one's.
    descriptors: the runtime opens a few late, such as for its poller or for random bytes.
    children: child processes, zombies included.
    """

    threads: int = 8
    wsgi_threads: int = 40
    python_threads: int = 0
    descriptors: int = 4
    children: int = 0


# anyio and asyncio keep the threads of their executors.
EXECUTORS = Slack(threads=20, python_threads=10)
# A thread that the test's app began goes on for a while, or to the end of the process.
ONE_THREAD = Slack(python_threads=1)
# A goroutine that waits for the disk has a thread, which stays.
FILES = Slack(threads=24)
# multiprocessing's resource tracker is a child that stays, on a pipe of its own.
TRACKER = Slack(children=1, descriptors=6)
# A zygote is started in the background for each environment, and lives on with its descriptors.
ZYGOTES = Slack(children=3, descriptors=24)
# Apps are loaded after the baseline: those with a loop have a thread and descriptors for it.
LATE_APPS = Slack(threads=16, python_threads=4, descriptors=24)


@dataclass(frozen=True)
class Usage:
    """What a server holds at one moment."""

    threads: list[str]
    wsgi_threads: list[str]
    python_threads: list[str]
    descriptors: dict[int, str]
    children: list[int]


class Health:
    """The checks of one server. A test's expectations are forgotten once they were checked."""

    def __init__(self, server: Server, slack: Slack) -> None:
        self._server = server
        self._slack = slack
        self._baseline: Usage | None = None
        self._checked = 0
        self._expected: list[Expectation] = []

    def take_baseline(self) -> None:
        self._baseline = self._usage()

    def expect(
        self,
        pattern: str,
        level: str | None,
        logger: str | None,
        times: int | None,
        *,
        optional: bool = False,
    ) -> Expectation:
        expectation = Expectation(re.compile(pattern), level, logger, times, optional)
        self._expected.append(expectation)
        return expectation

    def check(self) -> None:
        """Fails with all problems found, after waiting for what may still be on its way."""
        problems = self._process_problems()
        if self._server.is_running and not problems:
            problems += self._growth_problems()
        problems += self._log_problems()
        if problems:
            raise AssertionError("after the test:\n- " + "\n- ".join(problems))

    def check_log(self) -> None:
        problems = self._log_problems()
        if problems:
            raise AssertionError("in the log:\n- " + "\n- ".join(problems))

    def since_last_check(self) -> str:
        return self._server.tail(self._checked)

    # The process

    def _process_problems(self) -> list[str]:
        server = self._server
        if server.process is None:
            return []  # Stopped by the test itself.
        if not server.is_running:
            return [f"the server is dead (exit code {server.process.poll()})"]
        probes = [(server.canary, "/wsgi"), (server.canary, "/asgi")] if server.has_canary else []
        problems = [self._probe(port, target, tls=False) for port, target in probes]
        if server.probe is not None:
            problems.append(self._probe(server.port, server.probe, tls=server.tls))
        found = [problem for problem in problems if problem]
        if found and self._has_died():
            found.append(f"the server is dead (exit code {server.process.poll()})")
        return found

    def _has_died(self) -> bool:
        """Whether the process ends now; a core dump or Go's last words may take it a moment."""
        with suppress(AssertionError):
            wait_for(lambda: not self._server.is_running, "the end", DYING_DEADLINE)
        return not self._server.is_running

    @staticmethod
    def _probe(port: int, target: str, *, tls: bool) -> str | None:
        try:
            response = http1.request(port, "GET", target, tls=tls, timeout=5)
        except (OSError, http1.Broken) as error:
            return f"{target} no longer answers: {error!r}"
        if response.status != 200 or response.broken:
            return f"{target} answers {response.status} ({response.broken})"
        return None

    # Growth

    def _usage(self) -> Usage:
        server = self._server
        python_threads: list[str] = []
        if server.has_canary:
            http1.request(server.canary, "GET", "/wsgi")
            python_threads = json.loads(http1.request(server.canary, "GET", "/asgi").body)
        names = proc.thread_names(server.pid)
        return Usage(
            [name for name in names if not name.startswith(POOL)],
            [name for name in names if name.startswith(POOL)],
            [name for name in python_threads if not name.startswith(POOL)],
            proc.descriptors(server.pid),
            proc.children(server.pid),
        )

    def _growth(self) -> list[str]:
        now, base, slack = self._usage(), self._baseline, self._slack
        assert base is not None
        found = []
        more = ZYGOTES if HOME == "workers" else Slack(0, 0, 0, 0, 0)
        for kind, old, new, allowed in [
            ("threads", base.threads, now.threads, slack.threads),
            ("WSGI threads", base.wsgi_threads, now.wsgi_threads, slack.wsgi_threads),
            ("Python threads", base.python_threads, now.python_threads, slack.python_threads),
            (
                "descriptors",
                base.descriptors,
                now.descriptors,
                slack.descriptors + more.descriptors,
            ),
            ("child processes", base.children, now.children, slack.children + more.children),
        ]:
            if len(new) > len(old) + allowed:
                found.append(f"{kind} grew from {len(old)} to {len(new)}: {new}")
        return found

    def _growth_problems(self) -> list[str]:
        last: list[str] = []

        def has_settled() -> bool:
            last[:] = self._growth()
            return not last

        try:
            wait_for(has_settled, "the baseline", SETTLE_DEADLINE)
        except AssertionError:
            self.take_baseline()  # So that one leak fails one test, not all that follow.
        return last

    # The log

    def _log_problems(self) -> list[str]:
        expected, self._expected = self._expected, []
        unexpected: list[Record] = []

        def is_complete() -> bool:
            records = self._server.log.read()
            for record in records[self._checked :]:
                taker = next((e for e in expected if e.takes(record)), None)
                if taker is not None:
                    taker.records.append(record)
                elif record.is_problem:
                    unexpected.append(record)
            self._checked = len(records)
            return all(expectation.is_met for expectation in expected)

        with suppress(AssertionError):  # Each unmet expectation says so below.
            wait_for(is_complete, "the expected log records", SETTLE_DEADLINE)
        complaints = [e.complaint for e in expected]
        return [c for c in complaints if c] + [f"unexpected: {record}" for record in unexpected]
