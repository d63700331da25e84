"""A folder through which a test and an app tell each other how far they are.

It works across threads, loops, processes and however apps are isolated from one another. The app's
side is `apps/bare/board.py`.
"""

from __future__ import annotations

from pathlib import Path

from harness.http1 import Header
from harness.waiting import wait_for


class Board:
    """The test's side. A note is a file; each call that leaves it adds a line."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir()

    @property
    def headers(self) -> list[Header]:
        """Tells the app where the board is."""
        return [("X-Board", str(self.folder))]

    def lines(self, name: str) -> list[str]:
        path = self.folder / name
        return path.read_text().splitlines() if path.exists() else []

    def post(self, name: str) -> None:
        """Lets apps go on that wait for this note."""
        (self.folder / name).touch()

    def wait(self, name: str, times: int = 1, deadline: float = 10.0) -> list[str]:
        """Waits until the app has left this note so many times."""
        wait_for(
            lambda: len(self.lines(name)) >= times,
            lambda: f"{times} note(s) {name!r}; there are {len(self.lines(name))}",
            deadline,
        )
        return self.lines(name)

    def wait_until_still(self, name: str) -> int:
        """How many of these notes there are once no more have come for a second."""
        counts: list[int] = []

        def unchanged() -> bool:
            counts.append(len(self.lines(name)))
            return len(counts) > 100 and counts[-100] == counts[-1]

        self.wait(name)
        wait_for(unchanged, f"the notes {name!r} to stop", 20)
        return counts[-1]

    def wait_for_file(self, name: str) -> None:
        """The same for a note without lines."""
        wait_for((self.folder / name).exists, f"the note {name!r}")
