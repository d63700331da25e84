"""The server's log: records as they come, what a test expects of them, and what is a problem."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

BAD_LEVELS = frozenset({"error", "dpanic", "panic", "fatal"})
# Words that are a problem in a record of any level, and in lines that bypassed the log.
BAD_WORDS = re.compile(
    r"Traceback \(most recent|panic:|panicked|\bfatal\b|DATA RACE|Sanitizer|runtime error:"
    r"|SIGSEGV|SIGABRT|goroutine \d+ \[",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class Record:
    """One line of the log. A line that is no JSON object has the level `raw`."""

    level: str
    logger: str
    message: str
    fields: dict[str, Any]

    @classmethod
    def parse(cls, line: str) -> Record:
        try:
            fields = json.loads(line)
        except ValueError:
            fields = None
        if not isinstance(fields, dict):
            return cls("raw", "", line, {})
        return cls(
            str(fields.get("level", "")),
            str(fields.get("logger", "")),
            str(fields.get("msg", "")),
            fields,
        )

    @property
    def text(self) -> str:
        """What patterns are matched against: the message and, if there is one, the error."""
        error = self.fields.get("error")
        return f"{self.message}\n{error}" if error else self.message

    @property
    def is_problem(self) -> bool:
        """Whether a test fails on this record unless it declared it as expected.

        The whole log is JSON here, so a raw line is something that got past it: the runtime's or a
        sanitizer's last words, or an app's output on the wrong way.
        """
        return (
            self.level == "raw"
            or self.level in BAD_LEVELS
            or BAD_WORDS.search(self.text) is not None
        )

    def __str__(self) -> str:
        where = f" {self.logger}" if self.logger else ""
        return f"[{self.level}{where}] {self.text}"


@dataclass
class Expectation:
    """A record that a test declared: it must come `times` times (None: at least once)."""

    pattern: re.Pattern[str]
    level: str | None
    logger: str | None
    times: int | None
    optional: bool = False
    records: list[Record] = field(default_factory=list)

    def takes(self, record: Record) -> bool:
        return (
            self.level in (None, record.level)
            and self.logger in (None, record.logger)
            and self.pattern.search(record.text) is not None
        )

    @property
    def is_met(self) -> bool:
        return self.optional or len(self.records) >= (self.times or 1)

    @property
    def complaint(self) -> str | None:
        if not self.is_met:
            wanted = "at least once" if self.times is None else f"{self.times} time(s)"
            return f"expected {wanted}, came {len(self.records)} time(s): {self}"
        if self.times is not None and len(self.records) > self.times and not self.optional:
            return f"expected {self.times} time(s), came {len(self.records)} time(s): {self}"
        return None

    def __str__(self) -> str:
        return f"[{self.level or 'any level'}] /{self.pattern.pattern}/"


class Log:
    """Reads the file that the server's stderr goes to, whole lines only."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.records: list[Record] = []
        self._offset = 0

    def read(self) -> list[Record]:
        """Takes in what was written since the last call and returns all records so far."""
        with self.path.open("rb") as file:
            file.seek(self._offset)
            data = file.read()
        whole = data[: data.rfind(b"\n") + 1]
        self._offset += len(whole)
        lines = whole.decode("utf-8", "backslashreplace").split("\n")
        self.records += [Record.parse(line) for line in lines if line.strip()]
        return self.records

    def find(self, pattern: str, start: int = 0, **fields: Any) -> list[Record]:
        """The records from `start` on whose text matches and that carry these fields."""
        return [
            record
            for record in self.read()[start:]
            if re.search(pattern, record.text)
            and all(record.fields.get(name) == value for name, value in fields.items())
        ]
