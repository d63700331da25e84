"""Reloads an app many times by editing it, and measures memory, threads, descriptors, old modules
that are still alive, and the time from a save to the first response of the new code.

    python benchmarks/reloads.py [--times 200] [flask] [fastapi] [django]

The script runs in the test environment: CADDYSNAKE_BIN names the server, as for the tests. The
table is Markdown. "Beyond" is the time between the save and the first response of the new code,
minus the debounce and the load; the client sends the next request after each response.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

from harness import http1, proc
from harness.caddyfile import wsgi
from harness.server import Server
from harness.source import Source, reloads

DEBOUNCE = 0.05
# The old code is freed in the background, half a second after it is unloaded.
REST = 0.5
SETTLE = 8.0

# Another app: counts the modules of the edited app that are still alive.
COUNTS = """
import gc
from types import ModuleType

def app(environ, start_response):
    name = environ["QUERY_STRING"]
    found = [item for item in gc.get_objects() if type(item) is ModuleType]
    count = sum(item.__dict__.get("__file__") == name for item in found)
    start_response("200 OK", [])
    return [str(count).encode()]
"""

FLASK = """
from flask import Flask

VERSION = {version!r}
app = Flask(__name__)


@app.get("/")
def index():
    return VERSION
"""

FASTAPI = """
from fastapi import FastAPI
from fastapi.responses import PlainTextResponse
from pydantic import BaseModel

VERSION = {version!r}
app = FastAPI()


class Item(BaseModel):
    name: str
    parts: list[str] = []


@app.get("/", response_class=PlainTextResponse)
async def index() -> str:
    return VERSION


@app.post("/items")
async def create(item: Item) -> Item:
    return item


# async def app
"""

DJANGO = """
from django.conf import settings

VERSION = {version!r}
if not settings.configured:
    settings.configure(ROOT_URLCONF=__name__, SECRET_KEY="x", ALLOWED_HOSTS=["*"])

from django.core.wsgi import get_wsgi_application
from django.http import HttpResponse
from django.urls import path

urlpatterns = [path("", lambda request: HttpResponse(VERSION))]
app = get_wsgi_application()
"""

TEMPLATES = {"flask": FLASK, "fastapi": FASTAPI, "django": DJANGO}


HEAD = (
    "| app | reloads | KiB per reload | MiB | threads | descriptors | live modules | load, ms |"
    " beyond, ms: median | 95 % |\n|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|"
)


class Run:
    """One server whose app is reloaded repeatedly."""

    def __init__(self, name: str, folder: Path) -> None:
        self.name = name
        self.source = Source(folder / "site", TEMPLATES[name])
        (folder / "counts").mkdir()
        (folder / "counts" / "counts.py").write_text(COUNTS)
        block = self.source.block(autoreload=(f"debounce {int(DEBOUNCE * 1000)}ms",))
        self.server = Server(folder, [block, wsgi("counts:app", folder=folder / "counts")]).start()
        self.answered: list[float] = []
        self.sizes: list[float] = []

    def reload(self, number: int) -> None:
        wanted = f"version {number}"
        with self.server.connect() as connection:
            self.source.write(wanted)
            saved = time.monotonic()
            while True:
                connection.request("GET", "/")
                if connection.response().text == wanted:
                    break
                time.sleep(0.0005)  # otherwise the client would use the core that the load needs
            self.answered.append(time.monotonic() - saved)
        time.sleep(REST)
        self.sizes.append(proc.rss(self.server.pid) / 1024)

    def modules(self) -> int:
        return int(http1.request(self.server.ports[1], "GET", f"/?{self.source.main}").text)

    def row(self) -> str:
        time.sleep(SETTLE)
        skipped = len(self.sizes) // 4
        slope = statistics.linear_regression(
            range(len(self.sizes) - skipped), self.sizes[skipped:]
        ).slope
        loads = [float(record.fields["duration"]) for record in reloads(self.server)]
        over = sorted(
            (answered - DEBOUNCE - load) * 1000
            for answered, load in zip(self.answered, loads, strict=True)
        )
        pid = self.server.pid
        cells = [
            self.name,
            f"{len(loads)}",
            f"{slope:.1f}",
            f"{self.sizes[0] / 1024:.1f} to {proc.rss(pid) / 2**20:.1f}",
            f"{len(proc.thread_names(pid))}",
            f"{len(proc.descriptors(pid))}",
            f"{self.modules()}",
            f"{statistics.median(loads) * 1000:.1f}",
            f"{statistics.median(over):.1f}",
            f"{over[int(len(over) * 0.95)]:.1f}",
        ]
        return f"| {' | '.join(cells)} |"


def measure(name: str, times: int) -> str:
    with tempfile.TemporaryDirectory() as temporary:
        run = Run(name, Path(temporary))
        try:
            for number in range(1, times + 1):
                run.reload(number)
            return run.row()
        finally:
            run.server.dispose()


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("names", nargs="*", default=list(TEMPLATES), metavar="flask|fastapi|django")
    parser.add_argument("--times", type=int, default=200)
    arguments = parser.parse_args()
    print(HEAD)
    for each in arguments.names:
        print(measure(each, arguments.times), flush=True)
