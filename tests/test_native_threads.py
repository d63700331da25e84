"""Callbacks on threads that C code has made belong to the application whose code they are."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from harness import http1
from harness.caddyfile import python
from harness.health import Slack
from harness.plugin import Serve
from harness.tenants import ISOLATION, make_venv, site_packages, write
from harness.waiting import wait_for

SHARED = {
    "shared_calls.py": "def calling(function):\n    return lambda argument: function()\n",
    "shared_late.py": "def call(function, *args):\n    return function(*args)\n",
}
ASKED = {"helper", "environ", "path", "modules", "late", "thread"}


def block(tmp_path: Path, name: str, *options: str) -> str:
    folder = tmp_path / name
    if not folder.exists():
        shutil.copytree(ISOLATION / "native", folder)
        write(folder, {"helper.py": f"NAME = {name!r}"})
    return python(
        "main:app", f"env_var NAME {name}", *options, folder=folder, venv=tmp_path / "venv"
    )


@pytest.mark.smoke
@pytest.mark.parametrize("way", ["own", "package"])
def test_a_callback_is_its_applications(serve: Serve, tmp_path: Path, way: str) -> None:
    write(site_packages(make_venv(tmp_path / "venv")), SHARED)
    names = ("one", "two")
    server = serve(*(block(tmp_path, name) for name in names))
    for _ in range(2):
        for name, port in zip(names, server.ports, strict=True):
            found = json.loads(http1.request(port, "GET", f"/?{way}").body)
            assert found == dict.fromkeys(ASKED, name)
    for name in names:
        for what in ("printed", "logged"):
            wait_for(lambda text=f"{what} by {name}": len(server.log.find(text)) == 2, "the log")  # type: ignore[misc]
    assert not server.log.find("(printed|logged) by", app=None)


def test_it_keeps_no_application(serve: Serve, tmp_path: Path) -> None:
    write(site_packages(make_venv(tmp_path / "venv")), SHARED)
    server = serve(block(tmp_path, "one"), options=["debug"], slack=Slack(threads=8))
    assert server.get("/?own").status == 200
    gone = "weakref.finalize(sys.modules['helper'], print, 'helper is gone')"
    write(tmp_path / "one", {"helper.py": f"import sys, weakref\n{gone}\nNAME = 'one'"})
    for number in (1, 2):
        assert server.load(block(tmp_path, "one", f"env_var NUMBER {number}")).status == 200
        assert server.get("/?own").status == 200
    wait_for(lambda: server.log.find("helper is gone"), "the modules of the old one to go")
