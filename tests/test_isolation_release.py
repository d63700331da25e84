"""What is left of an application when it is gone: nothing."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from harness import http1, proc
from harness.caddyfile import asgi, python, wsgi
from harness.health import Slack
from harness.plugin import Serve
from harness.server import Server
from harness.tenants import ISOLATION, write
from harness.waiting import wait_for

pytestmark = pytest.mark.in_process("an application is freed with its worker")

SLACK = Slack(threads=12, python_threads=2, descriptors=6)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    shutil.copy(ISOLATION / "released.py", tmp_path)
    return tmp_path


def released(folder: Path, number: int) -> str:
    return python(
        "released:app", f"env_var NUMBER {number}", interface="module_asgi", folder=folder
    )


def alive(server: Server) -> int:
    found: int = json.loads(server.get("/alive").body)
    return found


def use(server: Server) -> None:
    body = json.dumps({"name": "x", "parts": [{"name": "y"}]}).encode()
    headers = [("Content-Type", "application/json")]
    assert server.request("POST", "/items", headers, body).status == 200


@pytest.mark.smoke
def test_modules_of_an_unloaded_application_are_freed(serve: Serve, folder: Path) -> None:
    server = serve(released(folder, 0), slack=SLACK)
    use(server)
    for number in range(1, 4):
        assert server.load(released(folder, number)).status == 200
        use(server)
        wait_for(lambda: alive(server) == 1, lambda: f"one module; there are {alive(server)}")


def test_memory_stays_flat_over_forty_loads(serve: Serve, folder: Path) -> None:
    server = serve(released(folder, 0), slack=SLACK)
    after_twenty = 0
    for number in range(1, 61):
        assert server.load(released(folder, number)).status == 200
        use(server)
        wait_for(lambda: alive(server) == 1, "the old one to go")
        if number == 20:
            after_twenty = proc.rss(server.pid)
    # Each load has 400 kB of ballast of its own, and uvloop's buffers; Caddy itself takes some.
    assert proc.rss(server.pid) - after_twenty < 6 << 20


def test_atexit_functions_run_when_the_application_is_unloaded(serve: Serve, folder: Path) -> None:
    server = serve(released(folder, 1), slack=SLACK)
    assert server.load(released(folder, 2)).status == 200
    server.expect_log("atexit of 1", level="info")
    server.check()
    server.stop()
    assert "atexit of 2" in server.tail()


@pytest.mark.smoke
@pytest.mark.parametrize("directive", [wsgi, asgi])
def test_a_failed_load_leaves_no_module_behind(
    serve: Serve, tmp_path: Path, directive: object
) -> None:
    write(
        tmp_path / "broken",
        {
            "broken.py": "import helper\nfrom pydantic import BaseModel\n"
            "class Item(BaseModel):\n    name: str\nraise ValueError('planted: too late')",
            "helper.py": "BALLAST = bytes(1000)",
        },
    )
    write(tmp_path / "counts", {"counts.py": COUNTS})
    counts = wsgi("counts:app", folder=tmp_path / "counts")
    server = serve(counts, slack=SLACK)
    server.allow_log(".")
    for _ in range(3):
        answer = server.load(directive("broken:app", folder=tmp_path / "broken"))  # type: ignore[operator]
        assert answer.status == 400
        assert "planted: too late" in json.loads(answer.body)["error"]
    broken = str(tmp_path / "broken")
    wait_for(lambda: server.get(f"/?{broken}").text == "0", "the modules to go")


VENDORED = """
import sys, weakref

def app(environ, start_response):
    start_response("200 OK", [])
    return [str(sum(code() is not None for code in sys.codes)).encode()]

sys.codes = getattr(sys, "codes", [])
sys.codes.append(weakref.ref(app.__code__))
"""


def test_code_of_a_private_package_among_its_files_goes_with_it(
    serve: Serve, tmp_path: Path
) -> None:
    blocks = []
    for name in ("one", "two"):
        files = {"django/__init__.py": VENDORED, "main.py": "from django import app"}
        write(tmp_path / name, files)
        blocks.append(wsgi("main:app", folder=tmp_path / name))
    one, two = blocks
    server = serve(one, two, slack=SLACK)
    assert server.get("/").text == "2"
    assert server.load(two, two).status == 200
    wait_for(lambda: server.get("/").text == "1", "the code to go")


EXECUTOR = """
import gc, json
from concurrent.futures import ThreadPoolExecutor
from types import ModuleType

POOL = ThreadPoolExecutor(4)

def app(environ, start_response):
    start_response("200 OK", [])
    found = [item for item in gc.get_objects() if isinstance(item, ModuleType)]
    count = sum(item.__dict__.get("__file__") == __file__ for item in found)
    return [json.dumps(POOL.submit(lambda: count).result()).encode()]
"""


def test_an_executor_among_its_modules_keeps_no_application(serve: Serve, tmp_path: Path) -> None:
    write(tmp_path, {"main.py": EXECUTOR})

    def block(number: int) -> str:
        return wsgi("main:app", f"env_var NUMBER {number}", folder=tmp_path)

    server = serve(block(0), slack=Slack(threads=12, python_threads=8))
    for number in range(1, 4):
        assert server.get("/").status == 200
        assert server.load(block(number)).status == 200
    wait_for(lambda: server.get("/").text == "1", "the modules to go")


# It makes the first object with a finalizer of the process, and so registers all finalizers.
TEMPORARY = """
import os, tempfile
FOLDER = tempfile.TemporaryDirectory()

def app(environ, start_response):
    start_response("200 OK", [])
    return [str(os.path.isdir(FOLDER.name)).encode()]
"""


def test_an_application_that_leaves_finalizes_nothing_of_others(
    serve: Serve, tmp_path: Path
) -> None:
    for name in ("one", "two"):
        write(tmp_path / name, {"main.py": TEMPORARY})
    one, two = (wsgi("main:app", folder=tmp_path / name) for name in ("one", "two"))
    server = serve(one, two, slack=SLACK, env={"TMPDIR": str(tmp_path)})
    made = set(tmp_path.glob("tmp*"))
    assert len(made) == 2
    assert server.load(two, two).status == 200
    wait_for(lambda: len(set(tmp_path.glob("tmp*"))) == 1, "the directory of the first to go")
    assert server.get("/").text == "True"


COUNTS = """
import gc
from types import ModuleType

def app(environ, start_response):
    prefix = environ["QUERY_STRING"]
    found = [item for item in gc.get_objects() if isinstance(item, ModuleType)]
    files = [item.__dict__.get("__file__") or "" for item in found]
    start_response("200 OK", [])
    return [str(sum(file.startswith(prefix) for file in files)).encode()]
"""


# A cache of a shared module refers to it, so that caches are searched.
CACHED = """
import typing

class Own: ...

KINDS = typing.Optional[Own], typing.Dict[str, Own]

def app(environ, start_response):
    start_response("200 OK", [])
    return [b"cached"]
"""
# Appended to an application: a weak reference to its module.
WITNESS = """
import sys, weakref

sys.witnesses = [*getattr(sys, "witnesses", ()), weakref.ref(sys.modules[__name__])]
"""
# Notes the full collections that freeing an application asks for, not those of Python's own. It
# refers to nothing that may be about to go: a list of gc.get_objects() keeps all from being freed.
NOTES = """
import gc, sys

full = []

def note(phase, info):
    code = sys._getframe(1).f_code
    if info["generation"] == 2 and (code.co_filename, code.co_name) == PACE:
        full.append(phase)

PACE = "<caddysnake_py/release.py>", "collect"
gc.callbacks.append(note)

def app(environ, start_response):
    start_response("200 OK", [])
    alive = sum(witness() is not None for witness in sys.witnesses)
    return [f"{len(full)} {alive}".encode()]
"""
# What holds its module is garbage of the old generation when the application is unloaded.
GARBAGE = """
import gc, os, sys

class Node: ...

def leave():
    node = Node()
    node.itself, node.module = node, sys.modules[__name__]
    gc.collect()

if os.environ["N"] == "0":
    leave()

def app(environ, start_response):
    start_response("200 OK", [])
    return [b"garbage"]
"""
# The same where a thread of the pool keeps it.
LOCAL = """
import gc, sys, threading

class Connection: ...

local = threading.local()

def app(environ, start_response):
    local.connection = connection = Connection()
    connection.itself, connection.module = connection, sys.modules[__name__]
    gc.collect()
    start_response("200 OK", [])
    return [b"local"]
"""
FLASK = """
from flask import Flask

app = Flask(__name__)

@app.get("/")
def index():
    return "flask"
"""
FASTAPI = """
from fastapi import FastAPI
from pydantic import BaseModel

app = FastAPI()

class Item(BaseModel):
    name: str
    parts: list["Item"] = []

@app.get("/")
async def index() -> Item:
    return Item(name="fastapi")
"""
DJANGO = """
from django.conf import settings
from django.core.wsgi import get_wsgi_application
from django.http import HttpResponse
from django.urls import path

def index(request):
    return HttpResponse("django")

urlpatterns = [path("", index)]
apps = ["django.contrib.contenttypes", "django.contrib.auth", "django.contrib.admin"]
settings.configure(ROOT_URLCONF=__name__, SECRET_KEY="x", ALLOWED_HOSTS=["*"], INSTALLED_APPS=apps)
app = get_wsgi_application()
"""


@pytest.mark.smoke
@pytest.mark.parametrize(
    ("code", "full"),
    [(CACHED, 0), (LOCAL, 0), (FLASK, 0), (FASTAPI, 0), (DJANGO, 0), (GARBAGE, 1)],
    ids=["cached", "local", "flask", "fastapi", "django", "garbage"],
)
def test_an_application_is_freed_without_stopping_the_others(
    serve: Serve, tmp_path: Path, code: str, full: int
) -> None:
    """A full collection, which looks at all that the others have, comes only when it must."""
    write(tmp_path / "own", {"main.py": code + WITNESS})
    write(tmp_path / "notes", {"main.py": NOTES})
    interface = asgi if code is FASTAPI else wsgi
    own = [interface("main:app", f"env_var N {n}", folder=tmp_path / "own") for n in range(3)]
    notes = wsgi("main:app", folder=tmp_path / "notes")
    server = serve(own[0], notes, slack=SLACK)

    def noted() -> list[int]:
        answer = http1.request(server.ports[1], "GET", "/")
        return [int(number) for number in answer.text.split()]

    for block in own[1:]:
        assert server.get("/").status == 200
        assert server.load(block, notes).status == 200
        wait_for(lambda: noted()[1] == 1, "the modules of the old one to go")
    # While Django loads, Python's own collections make some of its closures old before they are
    # garbage: which of them is chance, and only a full collection finds these (0024).
    if code is not DJANGO:
        assert (noted()[0] > 0) == bool(full)


# Code that no reference may be taken from while it fills a tuple: a tuple with two owners is not
# resized, which is a SystemError.
FILLS_TUPLES = """
import threading

mistakes = []
rounds = 0

def fill():
    global rounds
    while True:
        try:
            assert len(tuple(number for number in range(1000))) == 1000
        except BaseException as error:
            mistakes.append(repr(error))
        rounds += 1

threading.Thread(target=fill, daemon=True).start()

def app(environ, start_response):
    start_response("200 OK", [])
    return [f"{rounds} {mistakes[:1]}".encode()]
"""


def test_what_frees_an_application_disturbs_no_other(serve: Serve, tmp_path: Path) -> None:
    write(tmp_path / "busy", {"main.py": FILLS_TUPLES})
    write(tmp_path / "other", {"main.py": CACHED})
    busy = wsgi("main:app", folder=tmp_path / "busy")

    def other(number: int) -> str:
        return wsgi("main:app", f"env_var NUMBER {number}", folder=tmp_path / "other")

    server = serve(other(0), busy, slack=Slack(threads=12, python_threads=1))
    for number in range(1, 9):
        gone = len(server.log.find("^python app unloaded$"))
        assert server.load(other(number), busy).status == 200
        wait_for(
            lambda gone=gone: len(server.log.find("^python app unloaded$")) > gone,
            "the old one to go",
        )
    rounds, mistakes = http1.request(server.ports[1], "GET", "/").text.split(" ", 1)
    assert int(rounds) > 100
    assert mistakes == "[]"
