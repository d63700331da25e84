"""Clients that ask without a pause, on connections that they keep."""

from __future__ import annotations

import threading
from collections import Counter
from typing import Protocol

from harness import http1


class Connects(Protocol):
    """What clients can connect to."""

    def connect(self) -> http1.Connection: ...


class Crowd:
    """Sends requests on many connections while the block runs.

    Attributes:
        answers: how often each pair of status and body came.
        reconnects: how often a connection ended before the first byte of an answer. Caddy does so
            when its configuration is replaced; clients ask again (RFC 9112, 9.3.1).
        failures: what was no whole answer, or one whose parts don't belong together.
    """

    def __init__(self, server: Connects, size: int = 64, target: str = "/") -> None:
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

    def __exit__(self, *_: object) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join()

    def _ask(self) -> None:
        while not self._over.is_set():
            try:
                with self._server.connect() as connection:
                    self._ask_on(connection)
            except OSError:  # while connecting
                with self._lock:
                    self.reconnects += 1

    def _ask_on(self, connection: http1.Connection) -> None:
        while not self._over.is_set():
            try:
                connection.request("GET", self._target)
                response = connection.response()
            except (OSError, http1.Broken):  # instead of a head
                with self._lock:
                    self.reconnects += 1
                return
            self._count(response)

    def _count(self, response: http1.Response) -> None:
        with self._lock:
            self.answers[response.status, response.text] += 1
            if response.broken or response.status != 200:
                self.failures.append(f"{response.status} {response.broken}")
            elif response.text != response.get("x-version"):
                self.failures.append(f"{response.get('x-version')} with {response.text}")
