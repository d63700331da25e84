"""Installed packages: what is shared, what each application has for itself, and how that is found
out."""

from __future__ import annotations

import json
import os
import shutil
from importlib.machinery import EXTENSION_SUFFIXES
from pathlib import Path

import pytest

from harness.expressions import ask, site
from harness.health import Slack
from harness.plugin import Serve
from harness.settings import VENV
from harness.tenants import install, make_venv, site_packages, write

# Sharing


@pytest.mark.in_process("a worker has one application, and nothing to isolate")
def test_a_package_is_shared_by_all_on_an_environment(serve: Serve, tmp_path: Path) -> None:
    venv = make_venv(tmp_path / "venv")
    install(venv, "counter", "1.0", {"counter.py": "STATE = []"})
    server = serve(*(site(tmp_path / name, "import counter", venv=venv) for name in ("one", "two")))
    first, second = ask(server, "id(counter.STATE)")
    assert first == second


@pytest.mark.in_process("a worker has one application, and nothing to isolate")
@pytest.mark.smoke
def test_an_isolated_package_and_what_needs_it_is_each_applications_own(
    serve: Serve, tmp_path: Path
) -> None:
    venv = make_venv(tmp_path / "venv")
    install(venv, "counter", "1.0", {"counter/__init__.py": "STATE = []"})
    install(
        venv,
        "Uses.Counter",
        "1.0",
        {"uses_counter.py": "import counter\nSTATE = counter.STATE"},
        "Requires-Dist: counter (>=1.0)",
    )
    imports = "import counter, uses_counter"
    server = serve(
        site(tmp_path / "one", imports, "isolate counter", venv=venv),
        site(tmp_path / "two", imports, venv=venv),
        site(tmp_path / "three", imports, venv=venv),
    )
    own, shared, also_shared = ask(server, "[id(counter.STATE), id(uses_counter.STATE)]")
    assert own[0] == own[1] != shared[0]
    assert shared == also_shared == [shared[0]] * 2


@pytest.mark.in_process("a worker has one application, and nothing to isolate")
def test_isolated_packages_see_the_applications_environment(serve: Serve, tmp_path: Path) -> None:
    venv = make_venv(tmp_path / "venv")
    install(venv, "client", "1.0", {"client.py": "import os\nKEY = os.environ.get('KEY')"})
    server = serve(
        site(tmp_path / "one", "import client", "isolate client", "env_var KEY one", venv=venv),
        site(tmp_path / "two", "import client", "env_var KEY two", venv=venv),
        env={"KEY": "of the server"},
    )
    assert ask(server, "[client.KEY, __import__('os').environ['KEY']]") == [
        ["one", "one"],
        ["of the server", "two"],
    ]


@pytest.mark.in_process("a worker has one application, and nothing to isolate")
@pytest.mark.parametrize(
    ("name", "why"), [("markupsafe", "extension modules"), ("absent", "not installed")]
)
def test_what_cant_be_isolated_is_named_in_the_log(
    serve: Serve, tmp_path: Path, name: str, why: str
) -> None:
    server = serve(site(tmp_path / "one", "", f"isolate {name}", venv=VENV))
    server.expect_log(f"isolate {name} has no effect: .*{why}", level="warn")


# Packages that need a private one without saying so

DISCOVERED = {
    "plain": "import django\nVERSION = django.VERSION",
    "guarded": "try:\n    import django\nexcept ImportError:\n    django = None",
    "swallowed": "try:\n    import django\nexcept:\n    django = None",
    "indirect": "import guarded\ndjango = guarded.django",
}


@pytest.mark.smoke
@pytest.mark.parametrize("name", DISCOVERED)
def test_undeclared_users_of_django_are_found_out(serve: Serve, tmp_path: Path, name: str) -> None:
    venv = make_venv(tmp_path / "venv")
    install(venv, "django", "5.0", {"django/__init__.py": "VERSION = 5\nSTATE = []"})
    modules = {f"{key}.py": code for key, code in DISCOVERED.items()}
    write(site_packages(venv), modules)
    imports = f"import {name}, django, sys"
    server = serve(*(site(tmp_path / each, imports, venv=venv) for each in ("one", "two")))
    asked = f"[{name}.django is django, id(django.STATE), id({name})]"
    (is_own, state, module), (is_own_too, other_state, other_module) = ask(server, asked)
    assert is_own and is_own_too
    assert state != other_state
    assert module != other_module


def test_a_user_of_django_that_is_first_imported_in_a_request(serve: Serve, tmp_path: Path) -> None:
    venv = make_venv(tmp_path / "venv")
    install(venv, "django", "5.0", {"django/__init__.py": "STATE = []"})
    files = {"late/__init__.py": "", "late/sub.py": "import django\nSTATE = django.STATE"}
    write(site_packages(venv), files)
    imports = "import django, importlib\nload = importlib.import_module"
    server = serve(*(site(tmp_path / each, imports, venv=venv) for each in ("one", "two")))
    found = ask(server, "[load('late.sub').STATE is django.STATE, id(load('late'))]")
    assert [is_own for is_own, _ in found] == [True, True]
    assert found[0][1] != found[1][1]


# Packages with extension modules, which can't be private

NATIVE = f"native/speedups{EXTENSION_SUFFIXES[0]}"
TRIES = {
    "itself": "try:\n    import django\nexcept ImportError:\n    django = None",
    "a plugin": "import sys\nsys.path.append(__path__[0] + '/_vendored')\n"
    "from native_plugin import django",
    "a function": "def has_django():\n    try:\n        import django\n    except ImportError:\n"
    "        django = None\n    return django\ndjango = has_django()",
}


@pytest.mark.in_process("a worker has one application, and nothing to isolate")
@pytest.mark.smoke
@pytest.mark.parametrize("what", TRIES)
def test_an_extension_that_tries_a_private_package_does_without(
    serve: Serve, tmp_path: Path, what: str
) -> None:
    venv = make_venv(tmp_path / "venv")
    install(venv, "django", "5.0", {"django/__init__.py": "STATE = []"})
    files = {
        "native/__init__.py": TRIES[what],
        "native/_vendored/native_plugin.py": TRIES["itself"],
        NATIVE: "",
    }
    install(venv, "native", "1.0", files)
    imports = "import native, django"
    blocks = [site(tmp_path / each, imports, venv=venv) for each in ("one", "two")]
    server = serve(*blocks, options=["debug"])
    (django, state, module), (_, other_state, other) = ask(
        server, "[native.django, id(django.STATE), id(native)]"
    )
    assert django is None
    assert state != other_state
    assert module == other
    server.expect_log("native.* can't import django, because it has extension", level="debug")


@pytest.mark.in_process("a worker has one application, and nothing to isolate")
def test_an_extension_that_needs_a_private_package_is_refused(serve: Serve, tmp_path: Path) -> None:
    venv = make_venv(tmp_path / "venv")
    install(venv, "django", "5.0", {"django/__init__.py": ""})
    install(venv, "native", "1.0", {"native/__init__.py": "import django", NATIVE: ""})
    server = serve(site(tmp_path / "one", venv=venv))
    server.allow_log(".")
    answer = server.load(site(tmp_path / "two", "import native", venv=venv))
    assert answer.status == 400
    error = json.loads(answer.body)["error"]
    assert "ModuleNotFoundError: No module named 'django': native can't import django" in error


@pytest.mark.in_process("a worker has one application, and nothing to isolate")
def test_a_registry_is_there_for_extensions_and_for_each_application(
    serve: Serve, tmp_path: Path
) -> None:
    venv = make_venv(tmp_path / "venv")
    install(venv, "prometheus-client", "1.0", {"prometheus_client/__init__.py": "STATE = []"})
    files = {"native/__init__.py": "from prometheus_client import STATE", NATIVE: ""}
    install(venv, "native", "1.0", files, "Requires-Dist: prometheus-client")
    imports = "import native, prometheus_client"
    server = serve(*(site(tmp_path / each, imports, venv=venv) for each in ("one", "two")))
    one, two = ask(server, "[id(native.STATE), id(prometheus_client.STATE)]")
    assert one[0] == two[0]
    assert len({one[0], one[1], two[1]}) == 3


# Virtual environments


@pytest.mark.smoke
def test_two_environments_have_their_own_versions_of_a_package(
    serve: Serve, tmp_path: Path
) -> None:
    blocks = []
    for version in ("1.0", "2.0"):
        venv = make_venv(tmp_path / f"venv{version}")
        files = {"tool/__init__.py": f"VERSION = '{version}'", "tool/late.py": "from tool import *"}
        install(venv, "tool", version, files)
        install(venv, "user", "1.0", {"user.py": "import tool\nVERSION = tool.VERSION"})
        imports = "import tool, user, sys\nfrom importlib.metadata import version"
        blocks.append(site(tmp_path / version, imports, venv=venv))
    server = serve(*blocks)
    asked = "[tool.VERSION, user.VERSION, version('tool'), __import__('tool.late').late.VERSION]"
    assert ask(server, asked) == [["1.0"] * 4, ["2.0"] * 4]
    prefixes = [str(tmp_path / "venv1.0"), str(tmp_path / "venv2.0")]
    assert ask(server, "sys.prefix") == prefixes
    paths = ask(server, "sys.path")
    assert [path[0] for path in paths] == [str(tmp_path / "1.0"), str(tmp_path / "2.0")]
    assert not any("venv2.0" in entry for entry in paths[0])


@pytest.mark.in_process("the order of Python's own site module")
def test_an_environment_of_its_own_hides_the_hosts_packages(serve: Serve, tmp_path: Path) -> None:
    alone, with_host = make_venv(tmp_path / "alone"), make_venv(tmp_path / "with_host")
    config = with_host / "pyvenv.cfg"
    config.write_text(config.read_text().replace("packages = false", "packages = true"))
    install(with_host, "tool", "2.0", {"tool.py": "VERSION = '2.0'"})
    base = tmp_path / "host"
    host = base / site_packages(VENV).relative_to(VENV)
    write(host, {"tool.py": "VERSION = 'host'", "hosts.py": "import tool\nVERSION = tool.VERSION"})
    imports = (
        "from importlib.util import find_spec\n"
        "def version(name):\n"
        "    return __import__(name).VERSION if find_spec(name) else None"
    )
    server = serve(
        site(tmp_path / "one", imports, venv=None),
        site(tmp_path / "two", imports, venv=alone),
        site(tmp_path / "three", imports, venv=with_host),
        env={"PYTHONUSERBASE": str(base)},
    )
    found = ask(server, "[version('hosts'), version('tool')]")
    assert found == [["host", "host"], [None, None], ["host", "2.0"]]


def copy_markupsafe(venv: Path, version: str) -> None:
    """A package with an extension module, under whatever version."""
    package = site_packages(VENV) / "markupsafe"
    shutil.copytree(package, site_packages(venv) / "markupsafe", dirs_exist_ok=True)
    names = [f"markupsafe/{file}" for file in os.listdir(package) if "." in file]
    install(venv, "MarkupSafe", version, {})
    metadata = site_packages(venv) / f"MarkupSafe-{version}.dist-info"
    (metadata / "RECORD").write_text("".join(f"{name},,\n" for name in names))


def test_one_version_of_an_extension_module_serves_several_environments(
    serve: Serve, tmp_path: Path
) -> None:
    blocks = []
    for name in ("one", "two"):
        copy_markupsafe(make_venv(tmp_path / f"venv-{name}"), "3.0.3")
        imports = "import markupsafe, markupsafe._speedups"
        blocks.append(site(tmp_path / name, imports, venv=tmp_path / f"venv-{name}"))
    server = serve(*blocks)
    assert ask(server, "str(markupsafe.escape('<'))") == ["&lt;", "&lt;"]


@pytest.mark.in_process("a worker has one application, and nothing to isolate")
@pytest.mark.smoke
def test_another_version_of_an_extension_module_is_refused(serve: Serve, tmp_path: Path) -> None:
    for name, version in [("one", "3.0.2"), ("two", "3.0.3")]:
        copy_markupsafe(make_venv(tmp_path / f"venv-{name}"), version)
    imports = "import markupsafe._speedups"
    first = site(tmp_path / "one", imports, venv=tmp_path / "venv-one")
    server = serve(first, probe="/?1")
    server.allow_log(".")
    answer = server.load(site(tmp_path / "two", imports, venv=tmp_path / "venv-two"))
    assert answer.status == 400
    error = json.loads(answer.body)["error"]
    assert "ImportError: the extension module markupsafe._speedups" in error
    assert "markupsafe 3.0.2" in error and "markupsafe 3.0.3" in error
    assert str(tmp_path / "venv-one") in error and str(tmp_path / "venv-two") in error
    assert "a Caddy of its own" in error
    assert ask(server, "2 + 2") == [4]


# Editable installs


@pytest.mark.in_process("Python's own site module reads .pth files twice")
@pytest.mark.smoke
def test_editable_installs_of_one_environment_are_not_found_by_another(
    serve: Serve, tmp_path: Path
) -> None:
    blocks = []
    for name in ("one", "two"):
        venv = make_venv(tmp_path / f"venv-{name}")
        write(
            tmp_path / f"source-{name}",
            {"src/by_path.py": f"NAME = '{name}'", "lib/by_finder/__init__.py": f"NAME = '{name}'"},
        )
        found = tmp_path / f"source-{name}" / "lib" / "by_finder" / "__init__.py"
        finder = f"""
            import sys
            from importlib.util import spec_from_file_location
            class Finder:
                @classmethod
                def find_spec(cls, name, path=None, target=None):
                    if name == "by_finder":
                        return spec_from_file_location(name, {str(found)!r})
            def install():
                sys.meta_path.append(Finder)
            """
        lines = [line[12:] for line in finder.splitlines()]
        write(
            site_packages(venv),
            {
                "by_path.pth": str(tmp_path / f"source-{name}" / "src") + "\n",
                "by_finder.pth": "import __editable__finder; __editable__finder.install()\n",
                "__editable__finder.py": "\n".join(lines) + "\n",
            },
        )
        blocks.append(site(tmp_path / name, "import by_path, by_finder, sys", venv=venv))
    server = serve(*blocks)
    assert ask(server, "[by_path.NAME, by_finder.NAME]") == [["one", "one"], ["two", "two"]]
    finders = ask(
        server, "sum(getattr(each, '__name__', '') == 'Finder' for each in sys.meta_path)"
    )
    assert finders == [1, 1]


def test_an_application_that_is_installed_into_its_environment_is_its_own(
    serve: Serve, tmp_path: Path
) -> None:
    """`pip install -e .` makes the environment find it as well."""
    venv = make_venv(tmp_path / "venv")
    for name in ("one", "two"):
        write(tmp_path / name, {"own/__init__.py": "STATE = []"})
    (site_packages(venv) / "own.pth").write_text(f"{tmp_path / 'one'}\n")
    server = serve(
        site(tmp_path / "one", "import own", venv=venv),
        site(tmp_path / "one", "import own", "env_var OTHER yes", venv=venv),
        site(tmp_path / "two", "import own", venv=venv),
    )
    assert len(set(ask(server, "id(own.STATE)"))) == 3


# Names


@pytest.mark.in_process("Python's own modules come first")
@pytest.mark.smoke
@pytest.mark.parametrize("name", ["json", "site", "test", "this", "main", "numpy", "time"])
def test_an_application_may_be_called_like_any_module(
    serve: Serve, tmp_path: Path, name: str
) -> None:
    venv = make_venv(tmp_path / "venv")
    write(site_packages(venv), {"numpy.py": "WHO = 'installed'", "user.py": "import numpy"})
    named = site(tmp_path / "one", "import user", venv=venv, target=f"{name}:app")
    imports = """
import user

def who(name):
    try:
        return getattr(__import__(name), "WHO", "library")
    except ImportError as error:
        return type(error).__name__
"""
    other = site(tmp_path / "two", imports, venv=venv, target="app:app")
    server = serve(named, other)
    assert ask(server, "user.numpy.WHO") == ["installed"] * 2
    mine = f"__import__('sys').modules[{name!r}].app is app"
    other_has = {"main": "ModuleNotFoundError", "numpy": "installed"}.get(name, "library")
    assert ask(server, f"{mine} if __name__ == {name!r} else who({name!r})") == [True, other_has]


@pytest.mark.in_process("a worker has one application, and nothing to isolate")
@pytest.mark.parametrize("order", [("own", "other"), ("other", "own")])
def test_a_file_of_an_application_wins_whatever_others_have_imported(
    serve: Serve, tmp_path: Path, order: tuple[str, str]
) -> None:
    venv = make_venv(tmp_path / "venv")
    write(
        site_packages(venv),
        {"tool.py": "WHO = 'installed'", "user.py": "import tool, colorsys, statistics"},
    )
    imports = "import tool, colorsys, statistics, user"
    own = {"tool.py": "WHO = 'own'", "colorsys.py": "WHO = 'own'", "statistics/x.txt": ""}
    blocks = {
        "own": site(tmp_path / "own", imports, venv=venv, files=own),
        "other": site(tmp_path / "other", imports, venv=venv),
    }
    server = serve(*(blocks[name] for name in order))
    asked = (
        "[tool.WHO, getattr(colorsys, 'WHO', None), hasattr(user.colorsys, 'hls_to_rgb'), "
        "user.tool.WHO, hasattr(statistics, 'mean')]"
    )
    found = dict(zip(order, ask(server, asked), strict=True))
    assert found == {
        "own": ["own", "own", True, "installed", True],
        "other": ["installed", None, True, "installed", True],
    }


@pytest.mark.in_process("a worker has one application, and nothing to isolate")
def test_namespace_packages_have_parts_in_applications_and_environments(
    serve: Serve, tmp_path: Path
) -> None:
    venv = make_venv(tmp_path / "venv")
    write(
        site_packages(venv), {"spread/shared.py": "STATE = []", "user.py": "import spread.shared"}
    )
    blocks = [
        site(
            tmp_path / name,
            "import user, spread.shared, spread.own",
            venv=venv,
            files={"spread/own.py": f"WHO = '{name}'"},
        )
        for name in ("one", "two")
    ]
    server = serve(*blocks)
    assert ask(server, "spread.own.WHO") == ["one", "two"]
    assert ask(server, "spread.shared is user.spread.shared") == [True, True]
    assert ask(server, "hasattr(user.spread, 'own')") == [False, False]
    first, second = ask(server, "id(spread.shared.STATE)")
    assert first == second


# Files that change


def test_a_stale_pyc_is_not_used(serve: Serve, tmp_path: Path) -> None:
    files = {"helper.py": "WHO = 'old'"}
    block = site(tmp_path / "one", "import helper", files=files)
    server = serve(block, env={"PYTHONDONTWRITEBYTECODE": ""})
    assert ask(server, "helper.WHO") == ["old"]
    source = tmp_path / "one" / "helper.py"
    assert list((tmp_path / "one" / "__pycache__").glob("helper.*.pyc"))
    before = source.stat()
    source.write_text("WHO = 'new one'")
    os.utime(source, ns=(before.st_atime_ns, before.st_mtime_ns + 10_000_000_000))
    assert server.load(site(tmp_path / "one", "import helper", "env_var X y")).status == 200
    assert ask(server, "helper.WHO") == ["new one"]


def test_a_module_that_is_new_is_found_by_the_next_load(serve: Serve, tmp_path: Path) -> None:
    server = serve(site(tmp_path / "one"), slack=Slack())
    write(tmp_path / "one", {"brand_new.py": "WHO = 'new'"})
    assert server.load(site(tmp_path / "one", "import brand_new", "env_var X y")).status == 200
    assert ask(server, "brand_new.WHO") == ["new"]


def test_modules_that_register_themselves_in_c_stay_in_their_environment(
    serve: Serve, tmp_path: Path
) -> None:
    """Cython's put themselves into the dict behind sys.modules."""
    server = serve(
        site(tmp_path / "one", "import sys, uvloop", venv=VENV),
        site(tmp_path / "two", "import sys", venv=make_venv(tmp_path / "venv")),
    )
    assert ask(server, "[name in sys.modules for name in ('uvloop', 'uvloop.loop')]") == [
        [True, True],
        [False, False],
    ]


LEAVING = """
import atexit

def leave():
    import leaving.late

atexit.register(leave)
"""


def test_what_a_shared_package_does_at_exit_finds_its_own_modules(
    serve: Serve, tmp_path: Path
) -> None:
    venv = make_venv(tmp_path / "venv")
    write(site_packages(venv), {"leaving/__init__.py": LEAVING, "leaving/late.py": "print('left')"})
    server = serve(site(tmp_path / "one", "import leaving", venv=venv))
    server.stop()
    assert server.log.find("^left$")
