"""Clients that ask without a pause, on connections that they keep."""

from __future__ import annotations

import threading
from collections import Counter
from types import TracebackType

from harness import http1
from harness.server import Server


class Crowd:
    """Sends requests on many connections while the block runs.

    Attributes:
        answers: how often each pair of status and body came.
        reconnects: how often the server closed a connection between two requests, as it may; a
            request that was on its way is sent again, as all clients do (RFC 9112, 9.3.1).
        failures: what was no whole answer, or one whose parts don't belong together.
    """

    def __init__(self, server: Server, size: int = 64, target: str = "/") -> None:
        self._server = server
        self._target = target
        self._over = threading.Event()
        self._lock = threading.Lock()
        self._threads = [threading.Thread(target=self._ask) for _ in range(size)]
        self.answers: Counter[tuple[int, str]] = Counter()
        self.reconnects = 0
        self.failures: list[str] = []

    def __enter__(self) -> Crowd:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join()

    def _ask(self) -> None:
        while not self._over.is_set():
            answered = 0
            try:
                with self._server.connect() as connection:
                    while not self._over.is_set():
                        connection.request("GET", self._target)
                        self._count(connection.response())
                        answered += 1
            except (OSError, http1.Broken) as error:
                with self._lock:
                    if answered and ("closed with b''" in str(error) or isinstance(error, OSError)):
                        self.reconnects += 1
                    else:
                        self.failures.append(repr(error))

    def _count(self, response: http1.Response) -> None:
        with self._lock:
            self.answers[response.status, response.text] += 1
            if response.broken or response.status != 200:
                self.failures.append(f"{response.status} {response.broken}")
            elif response.text != response.get("x-version"):
                self.failures.append(f"{response.get('x-version')} with {response.text}")
