"""Reloads an app many times by editing it: memory, threads, descriptors, and the time from a save
to the answer of the new code. `python benchmarks/reloads.py flask|fastapi|django [times]`

It runs in the test environment: CADDYSNAKE_BIN names the server, as for the tests.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

from harness import proc
from harness.server import Server
from harness.source import Source
from harness.waiting import wait_for

DEBOUNCE = 0.05

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


def measure(name: str, times: int) -> None:
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        source = Source(folder / "site", TEMPLATES[name])
        block = source.block(autoreload=(f"debounce {int(DEBOUNCE * 1000)}ms",))
        server = Server(folder, [block]).start()
        samples: list[tuple[int, float]] = []
        over: list[float] = []
        try:
            for number in range(1, times + 1):
                source.write(f"version {number}")
                saved = time.monotonic()
                wanted = f"version {number}"
                wait_for(lambda wanted=wanted: server.get("/").text == wanted, wanted, 30)
                answered = time.monotonic() - saved
                record = server.log.find("^python app reloaded$")[-1]
                over.append(answered - DEBOUNCE - float(record.fields["duration"]))
                time.sleep(0.35)  # the old code is freed in the background
                samples.append((number, proc.rss(server.pid) / 1024))
                if number in (20, times):
                    time.sleep(5)
                    print(
                        f"{name}: after {number}: {proc.rss(server.pid) / 2**20:.1f} MiB, "
                        f"{len(proc.thread_names(server.pid))} threads, "
                        f"{len(proc.descriptors(server.pid))} descriptors",
                        flush=True,
                    )
            late = samples[len(samples) // 4 :]
            slope = statistics.linear_regression(*zip(*late, strict=True)).slope
            durations = [
                float(record.fields["duration"])
                for record in server.log.find("^python app reloaded$")
            ]
            print(
                f"{name}: {slope:.1f} KiB per reload; load {statistics.median(durations) * 1e3:.0f}"
                f" ms; beyond debounce and load {statistics.median(over) * 1e3:.1f} ms (median),"
                f" {sorted(over)[int(len(over) * 0.99)] * 1e3:.1f} ms (99 %)"
            )
        finally:
            server.dispose()


if __name__ == "__main__":
    measure(sys.argv[1], int(sys.argv[2]) if len(sys.argv) > 2 else 200)
