"""The app's side of a test's board: notes are files in the folder that the X-Board header names."""

import asyncio
import time
from pathlib import Path

PATIENCE = 30.0


class Board:
    def __init__(self, folder):
        self.folder = Path(folder)

    @classmethod
    def of(cls, request):
        """From a WSGI environ or an ASGI scope."""
        if "wsgi.version" in request:
            return cls(request["HTTP_X_BOARD"])
        return cls(dict(request["headers"])[b"x-board"].decode())

    def note(self, name, line=""):
        # One write of one line in append mode, so that lines of many threads don't mix.
        with open(self.folder / name, "a") as file:
            file.write(f"{line}\n")

    def has(self, name):
        return (self.folder / name).exists()

    def wait(self, name):
        """Blocks until the test posts the note."""
        end = time.monotonic() + PATIENCE
        while not self.has(name):
            if time.monotonic() > end:
                raise TimeoutError(name)
            time.sleep(0.005)

    async def until(self, name):
        """The same for coroutines."""
        end = time.monotonic() + PATIENCE
        while not self.has(name):
            if time.monotonic() > end:
                raise TimeoutError(name)
            await asyncio.sleep(0.005)
