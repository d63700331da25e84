"""Lazy imports (PEP 810): whoever uses a name first, it is what its module would have imported.

Deselected before CPython 3.15, which has no such statement.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from harness import http1
from harness.caddyfile import wsgi
from harness.expressions import ask, site
from harness.health import Slack
from harness.plugin import Serve
from harness.server import Server
from harness.settings import VENV
from harness.tenants import install, make_venv, site_packages, write
from harness.waiting import wait_for

pytestmark = pytest.mark.smoke

TENANTS = ("one", "two")


def serve_tenants(
    serve: Serve,
    tmp_path: Path,
    shared: dict[str, str],
    imports: str,
    files: dict[str, str] | None = None,
    **options: object,
) -> Server:
    """Two apps of the same modules, whose NAME is the tenant's, on packages that they share."""
    venv = make_venv(tmp_path / "venv")
    write(site_packages(venv), shared)
    sites = []
    for name in TENANTS:
        own = {"name.py": f"NAME = {name!r}", **(files or {})}
        sites.append(site(tmp_path / name, imports, venv=venv, files=own))
    return serve(*sites, **options)


HELPER = {"helper.py": "from name import NAME"}


# Shared packages


def test_a_shared_package_finds_what_is_shared(serve: Serve, tmp_path: Path) -> None:
    """Both applications have a module of that name, and the first one uses the package first."""
    shared = {
        "helper.py": "NAME = 'shared'",
        "tool.py": "lazy import helper\nlazy from helper import NAME as found\n"
        "def names(): return [helper.NAME, found]",
    }
    server = serve_tenants(serve, tmp_path, shared, "import helper, tool", HELPER)
    assert ask(server, "[helper.NAME, *tool.names()]") == [
        ["one", "shared", "shared"],
        ["two", "shared", "shared"],
    ]


def test_what_a_shared_package_lacks_is_not_an_applications(serve: Serve, tmp_path: Path) -> None:
    shared = {
        "helper/__init__.py": "",
        "tool.py": "lazy import absent\nlazy from helper import part\n"
        "def tried(get):\n    try:\n        return get().NAME\n"
        "    except ImportError as error:\n        return str(error)\n"
        "def found(): return [tried(lambda: absent), tried(lambda: part)]",
    }
    own = {"absent.py": HELPER["helper.py"], "helper/part.py": "from name import NAME"}
    own["helper/__init__.py"] = ""
    server = serve_tenants(serve, tmp_path, shared, "import absent, helper.part, tool", own)
    for name, (mine, part, absent, missing) in zip(
        TENANTS, ask(server, "[absent.NAME, helper.part.NAME, *tool.found()]"), strict=True
    ):
        assert (mine, part) == (name, name)
        assert absent == "No module named 'absent'"
        assert missing.startswith("cannot import name 'part' from 'helper'")


def test_the_standard_library_finds_its_own(serve: Serve, tmp_path: Path) -> None:
    """`pathlib` imports `shutil` lazily, and has been imported before any application."""
    own = {"shutil.py": "from name import NAME"}
    server = serve_tenants(serve, tmp_path, {}, "import pathlib, shutil", own)
    assert ask(server, "[shutil.NAME, pathlib.shutil.__name__]") == [
        ["one", "shutil"],
        ["two", "shutil"],
    ]
    assert ask(server, "hasattr(pathlib.shutil, 'copyfile')") == [True, True]


def test_many_use_a_name_of_a_shared_package_at_once(serve: Serve, tmp_path: Path) -> None:
    shared = {
        "slow.py": "import time\ntime.sleep(0.3)\nNAME = 'shared'",
        "tool.py": "lazy from slow import NAME\ndef name(): return NAME",
    }
    own = {"slow.py": "from name import NAME"}
    server = serve_tenants(
        serve, tmp_path, shared, "import tool", own, slack=Slack(threads=12, python_threads=12)
    )

    def name(port: int) -> str:
        return http1.request(port, "GET", "/?tool.name()", timeout=20).text

    with ThreadPoolExecutor(8) as pool:
        assert set(pool.map(name, server.ports * 4)) == {"'shared'"}


LAZY_USERS = {
    "plain": "lazy import django\nVERSION = lambda: django.VERSION",
    "named": "lazy from django import VERSION as found\nVERSION = lambda: found",
    "indirect": "import plain\nVERSION = lambda: plain.VERSION()",
}


@pytest.mark.parametrize("name", LAZY_USERS)
def test_undeclared_users_of_django_are_found_out(serve: Serve, tmp_path: Path, name: str) -> None:
    venv = make_venv(tmp_path / "venv")
    install(venv, "django", "5.0", {"django/__init__.py": "VERSION = [5]"})
    write(site_packages(venv), {f"{key}.py": code for key, code in LAZY_USERS.items()})
    server = serve(
        *(site(tmp_path / each, f"import {name}, django", venv=venv) for each in TENANTS)
    )
    (is_own, version), (is_own_too, other) = ask(
        server, f"[{name}.VERSION() is django.VERSION, id(django.VERSION)]"
    )
    assert is_own and is_own_too
    assert version != other


def test_who_needs_django_too_late_is_told_what_to_do(serve: Serve, tmp_path: Path) -> None:
    venv = make_venv(tmp_path / "venv")
    install(venv, "django", "5.0", {"django/__init__.py": "VERSION = [5]"})
    late = (
        "lazy import needs\ndef version():\n    try:\n        return needs.VERSION\n"
        "    except ImportError as error:\n        return str(error)"
    )
    install(venv, "late", "1.0", {"late.py": late})
    install(venv, "needs", "1.0", {"needs.py": "import django\nVERSION = django.VERSION"})
    one = site(tmp_path / "one", "import late, django", venv=venv)
    two = site(tmp_path / "two", "import late, django", "isolate late", venv=venv)
    server = serve(one, two)
    assert ask(server, "late.version()") == [
        "late is shared by applications, but its lazy import of needs needs django, which each "
        "has for itself: write isolate late, or load the application again",
        [5],
    ]
    again = site(tmp_path / "one", "import late, django", "threads 9", venv=venv)
    assert server.load(again, two).status == 200
    assert ask(server, "late.version()") == [[5], [5]]


# Applications


def test_an_application_finds_its_own(serve: Serve, tmp_path: Path) -> None:
    files = {"helper.py": HELPER["helper.py"], "pack/__init__.py": "lazy from . import sub"}
    files["pack/sub.py"] = "from name import NAME"
    imports = "lazy import helper\nlazy import pack.sub as sub\nlazy from pack import sub as too"
    server = serve_tenants(serve, tmp_path, {"helper.py": "NAME = 'shared'"}, imports, files)
    assert ask(server, "[helper.NAME, sub.NAME, too.NAME]") == [["one"] * 3, ["two"] * 3]


def test_an_application_finds_its_own_on_threads_of_others(serve: Serve, tmp_path: Path) -> None:
    """On a thread that is nobody's, and from a callback of a shared package."""
    shared = {
        "runner.py": """
import queue, threading
TASKS = queue.SimpleQueue()

def work():
    while True:
        function, answer = TASKS.get()
        answer.put(function())

threading.Thread(target=work, daemon=True).start()

def call(function):
    answer = queue.SimpleQueue()
    TASKS.put((function, answer))
    return answer.get(timeout=10)
"""
    }
    files = {"early.py": "from name import NAME", "late.py": "from name import NAME"}
    imports = (
        "import runner\nlazy import early\nlazy from late import NAME\n"
        "def touch(): return [early.NAME, NAME]"
    )
    server = serve_tenants(
        serve, tmp_path, shared, imports, files, slack=Slack(threads=8, python_threads=4)
    )
    assert ask(server, "runner.call(touch)") == [["one", "one"], ["two", "two"]]


def test_a_submodule_that_one_application_imports_lazily_is_not_anothers(
    serve: Serve, tmp_path: Path
) -> None:
    """CPython keeps for all what such imports will make an attribute of a package."""
    venv = make_venv(tmp_path / "venv")
    sites = []
    for name, imports in (
        ("one", "lazy import models.user, models.late.deep\nimport models as own"),
        ("two", "import models as own"),
        ("three", "lazy import models.user, models.late.deep\nimport models as own"),
    ):
        files = {"name.py": f"NAME = {name!r}", "models/__init__.py": ""}
        files |= {"models/user.py": "from name import NAME", "models/late/__init__.py": ""}
        files["models/late/deep.py"] = "from name import NAME"
        sites.append(site(tmp_path / name, imports, venv=venv, files=files))
    server = serve(*sites)
    asked = "[hasattr(own, 'user') and own.user.NAME, hasattr(own, 'late') and own.late.deep.NAME]"
    assert ask(server, asked) == [["one", "one"], [False, False], ["three", "three"]]


def test_a_submodule_that_a_shared_package_imports_lazily_is_an_attribute(
    serve: Serve, tmp_path: Path
) -> None:
    shared = {
        "shop/__init__.py": "",
        "shop/item.py": "NAME = 'item'",
        "shop/late.py": "NAME = 'late'",
        "tool.py": "lazy import shop.item\nlazy from shop import late, absent",
    }
    server = serve_tenants(serve, tmp_path, shared, "import tool, shop")
    asked = "[shop.item.NAME, shop.late.NAME, hasattr(shop, 'absent')]"
    assert ask(server, asked) == [["item", "late", False]] * 2


def test_names_that_wait_are_those_of_an_application(serve: Serve, tmp_path: Path) -> None:
    first = site(tmp_path / "one", "import sys\nlazy import secret_of_one", venv=VENV)
    second = site(tmp_path / "two", "import sys\nlazy import wave, secret_of_two", venv=VENV)
    server = serve(first, second)
    asked = "[wave.__name__ if 'wave' in globals() else '', sorted(sys.lazy_modules)]"
    assert ask(server, asked) == [["", ["secret_of_one"]], ["wave", ["secret_of_two"]]]


@pytest.mark.parametrize("call", ["set_lazy_imports('all')", "set_lazy_imports_filter(print)"])
def test_an_application_does_not_change_the_imports_of_others(
    serve: Serve, tmp_path: Path, call: str
) -> None:
    server = serve(site(tmp_path / "one", f"import sys\nsys.{call}\nimport wave", venv=VENV))
    server.expect_log(r"sys.set_lazy_imports\w*\(\) does nothing inside Caddy", level="warn")
    asked = "[sys.get_lazy_imports(), sys.get_lazy_imports_filter(), type(wave).__name__]"
    assert ask(server, asked) == [["normal", None, "module"]]


# Freeing

RELEASED = """
import gc, os
from types import ModuleType
lazy import at_the_end
lazy import never_used, pack.never_used
lazy from pack import sub

class Held:
    def __del__(self):
        print("freed, and found", at_the_end.NAME)

HELD = Held()
HELD.self = HELD

def app(environ, start_response):
    start_response("200 OK", [])
    found = [item for item in gc.get_objects() if isinstance(item, ModuleType)]
    count = sum(vars(item).get("__file__") == __file__ for item in found)
    return [str(count).encode()]
"""


def test_an_application_with_unused_lazy_imports_is_freed(serve: Serve, tmp_path: Path) -> None:
    """What runs when it is freed finds its own modules, too."""
    files = {"main.py": RELEASED, "pack/__init__.py": "", "pack/sub.py": "", "never_used.py": ""}
    write(tmp_path, {**files, "at_the_end.py": "import os\nNAME = os.environ['NUMBER']"})

    def numbered(number: int) -> str:
        return wsgi("main:app", f"env_var NUMBER {number}", folder=tmp_path)

    server = serve(numbered(0), slack=Slack(threads=12, python_threads=2, descriptors=6))
    for number in range(1, 4):
        assert server.load(numbered(number)).status == 200
        wait_for(lambda: server.get("/").text == "1", "the old one to go")
        server.expect_log(f"freed, and found {number - 1}", level="info")


def test_all_imports_can_be_lazy(serve: Serve, tmp_path: Path) -> None:
    """As the one who starts the server can ask for. The harness asks an ASGI app, too."""
    imports = "import fastapi, helper, json, sys, wave"
    own = {"helper.py": "NAME = 'own'"}
    app = site(tmp_path, imports, venv=VENV, files=own)
    server = serve(app, env={"PYTHON_LAZY_IMPORTS": "all"})
    asked = "[sys.get_lazy_imports(), helper.NAME, wave.__name__, json.loads('1')]"
    assert ask(server, asked) == [["all", "own", "wave", 1]]
    assert ask(server, "fastapi.FastAPI().title") == ["FastAPI"]
