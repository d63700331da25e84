"""What is left of an application when it is gone: nothing."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from harness import proc
from harness.caddyfile import asgi, python, wsgi
from harness.health import Slack
from harness.plugin import Serve
from harness.server import Server
from harness.tenants import ISOLATION, write
from harness.waiting import wait_for

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


def test_memory_stays_flat_over_fifty_loads(serve: Serve, folder: Path) -> None:
    server = serve(released(folder, 0), slack=SLACK)
    after_ten = 0
    for number in range(1, 51):
        assert server.load(released(folder, number)).status == 200
        use(server)
        wait_for(lambda: alive(server) == 1, "the old one to go")
        if number == 10:
            after_ten = proc.rss(server.pid)
    # Each load has 400 kB of ballast of its own; half of that or less is what Caddy itself takes.
    assert proc.rss(server.pid) - after_ten < 8 << 20


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
