"""What clients of HTTP/2 and HTTP/3 have in common: requests are streams of one connection."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import TypeVar

from harness.http1 import Header
from harness.settings import PATIENCE

Self = TypeVar("Self", bound="StreamClient")


@dataclass
class Stream:
    """What came of one request so far."""

    status: int | None = None
    headers: list[Header] = field(default_factory=list)
    body: bytes = b""
    ended: bool = False
    reset: int | None = None
    interim: list[int] = field(default_factory=list)
    trailers: list[Header] = field(default_factory=list)

    def all(self, name: str) -> list[str]:
        return [value for key, value in self.headers if key == name.lower()]

    @property
    def is_over(self) -> bool:
        return self.ended or self.reset is not None

    def take_head(self, fields: list[Header]) -> None:
        """Takes in the head of an interim response or of the final one, pseudo headers included."""
        status = int(dict(fields)[":status"])
        if status < 200:
            self.interim.append(status)
        else:
            self.status = status
            self.headers = [(n, v) for n, v in fields if not n.startswith(":")]


class StreamClient(ABC):
    """One connection. `timeout` bounds each wait, so that a hang is a failure."""

    version: str

    def __init__(self, scheme: str, authority: str, timeout: float) -> None:
        self.streams: dict[int, Stream] = {}
        self._scheme = scheme
        self._authority = authority
        self._timeout = timeout * PATIENCE

    def __enter__(self: Self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @abstractmethod
    def close(self) -> None: ...

    def start(
        self,
        method: str,
        path: str,
        headers: Iterable[Header] = (),
        body: bytes | None = None,
        *,
        end: bool = True,
    ) -> int:
        """Opens a stream and returns its number. With `end=False` the body stays open."""
        number = self._next_number()
        self.streams[number] = Stream()
        pseudo = [
            (":method", method),
            (":scheme", self._scheme),
            (":authority", self._authority),
            (":path", path),
        ]
        fields = [(name.lower(), value) for name, value in headers]
        self.send_head(number, [*pseudo, *fields], end=end and body is None)
        if body is not None:
            self.send_data(number, body, end=end)
        return number

    @abstractmethod
    def send_head(self, number: int, fields: list[Header], *, end: bool) -> None:
        """Sends the fields as they are, pseudo headers included."""

    @abstractmethod
    def send_data(self, number: int, data: bytes, *, end: bool = False) -> None:
        """Sends a part of the body, or the last one."""

    @abstractmethod
    def send_all(self, number: int, data: bytes) -> None:
        """Sends data of any size, as fast as the server opens its window."""

    @abstractmethod
    def cancel(self, number: int) -> None:
        """Wants no more of the stream, as a browser does when its user leaves."""

    @abstractmethod
    def wait(self, number: int, condition: Callable[[Stream], bool]) -> Stream:
        """Takes in what comes until the condition holds for the stream or the stream is over."""

    def response(self, number: int) -> Stream:
        return self.wait(number, lambda stream: stream.is_over)

    def request(
        self, method: str, path: str, headers: Iterable[Header] = (), body: bytes | None = None
    ) -> Stream:
        return self.response(self.start(method, path, headers, body))

    @abstractmethod
    def _next_number(self) -> int: ...
