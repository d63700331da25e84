"""Which blocks share an application: those with the same settings, for as long as any of them is
configured."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from harness import http1
from harness.caddyfile import python
from harness.plugin import Serve
from harness.server import Server
from harness.settings import HOME
from harness.tenants import install, make_venv, write
from harness.waiting import wait_for

# Says which load of it answers, and notes its life.
APP = """
import os, uuid

TOKEN = uuid.uuid4().hex

def note(event):
    with open(os.environ["NOTES"], "a") as file:
        file.write(f"{event} {TOKEN}\\n")

note("import")

async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        for event in ("startup", "shutdown"):
            assert (await receive())["type"] == f"lifespan.{event}"
            note(event)
            await send({"type": f"lifespan.{event}.complete"})
        return
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": TOKEN.encode()})
"""

# Options that say what holds anyway, or nothing that makes a difference to a loaded application.
SAME = {
    "the same": "",
    "lifespan's default": "lifespan auto",
    "threads' default": "threads 32",
    "websocket's defaults": "websocket {\n ping_interval 20s\n}",
    "another time to start": "start_timeout 2m",
    "no limit to start": "start_timeout forever",
    "old options without effect": "workers 2\nworkers_runtime thread"
    if HOME == "process"
    else "workers 1\nworkers_runtime process",
    "a limit for bodies, which is Caddy's": "request_body {\n max_size 1MB\n}",
}

DIFFERENT = {
    "workers": f"workers {1 if HOME == 'process' else 0}",
    "env_var": "env_var OTHER 1",
    "value of env_var": "env_var OTHER 2",
    "env_file": "env_file {folder}/empty.env",
    "env_files": "env_file {folder}/empty.env\nenv_file {folder}/empty.env",
    "python_path": "python_path {folder}/lib",
    "longer python_path": "python_path {folder}/lib {folder}/lib2",
    "order of python_path": "python_path {folder}/lib2 {folder}/lib",
    "isolate": "isolate shared",
    "threads": "threads 5",
    "lifespan on": "lifespan on",
    "lifespan off": "lifespan off",
    "loop": "loop asyncio",
    "request_timeout": "request_timeout 1h",
    "slow_request": "slow_request 1h",
    "blocked_loop": "blocked_loop off",
    "websocket": "websocket {\n max_size 1MiB\n}",
}


def block(
    folder: Path, *options: str, working_dir: str = "app", venv: str = "venv", target: str = "app"
) -> str:
    filled = [line.replace("{folder}", str(folder)) for line in options if line]
    return python(
        f"main:{target}",
        f"env_var NOTES {folder}/notes",
        *filled,
        interface="module_asgi",
        folder=folder / working_dir,
        venv=folder / venv,
    )


def make(folder: Path) -> Path:
    files = {"main.py": APP, "../empty.env": "", "../notes": ""}
    write(folder / "app", files)
    shutil.copytree(folder / "app", folder / "app2")
    for name in ("lib", "lib2"):
        (folder / name).mkdir()
    for name in ("venv", "venv2"):
        install(make_venv(folder / name), "shared", "1.0", {"shared.py": ""})
    return folder


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return make(tmp_path)


def answers(server: Server) -> list[str]:
    return [http1.request(port, "GET", "/").text for port in server.ports]


def events(folder: Path, kind: str) -> list[str]:
    lines = [line.split() for line in (folder / "notes").read_text().splitlines()]
    return [token for event, token in lines if event == kind]


def loads(server: Server) -> int:
    """How often the log says that an application of this test was loaded."""
    return len(server.log.find("^python app loaded$", app="main:app"))


# One start of the server for all combinations


@pytest.fixture(scope="module")
def everything(
    serve_module: Serve, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Server, Path, dict[str, str]]:
    """A server with a site for each combination; the token that each of them answers with."""
    folder = make(tmp_path_factory.mktemp("sharing"))
    blocks = {"": block(folder)}
    blocks |= {name: block(folder, options) for name, options in SAME.items()}
    blocks |= {name: block(folder, options) for name, options in DIFFERENT.items()}
    blocks["working_dir"] = block(folder, working_dir="app2")
    blocks["venv"] = block(folder, venv="venv2")
    blocks["interface"] = (
        block(folder).replace("module_asgi main:app", "").replace("python ", "python main:app ", 1)
    )
    server = serve_module(*blocks.values())
    return server, folder, dict(zip(blocks, answers(server), strict=True))


@pytest.mark.parametrize("name", SAME)
def test_blocks_that_mean_the_same_share_an_application(
    everything: tuple[Server, Path, dict[str, str]], name: str
) -> None:
    tokens = everything[2]
    assert tokens[name] == tokens[""]


@pytest.mark.conformance("T13")
@pytest.mark.parametrize("name", [*DIFFERENT, "working_dir", "venv", "interface"])
def test_a_difference_makes_another_application(
    everything: tuple[Server, Path, dict[str, str]], name: str
) -> None:
    tokens = everything[2]
    assert [other for other, token in tokens.items() if token == tokens[name]] == [name]


def test_each_application_is_loaded_and_started_once(
    everything: tuple[Server, Path, dict[str, str]],
) -> None:
    server, folder, tokens = everything
    distinct = sorted(set(tokens.values()))
    assert sorted(events(folder, "import")) == distinct
    started = set(distinct) - {tokens["lifespan off"]}
    assert sorted(events(folder, "startup")) == sorted(started)
    assert loads(server) == len(distinct)


# Order and spelling


def test_order_and_spelling_make_no_difference(serve: Serve, folder: Path) -> None:
    plain = block(folder, "env_var A 1", "env_var B 2", "isolate shared other")
    reordered = block(folder, "isolate other", "env_var B 2", "env_var A 1", "isolate shared")
    spelled = plain.replace(f"{folder}/app", f"{folder.name}/lib/../app/")
    server = serve(plain, reordered, spelled, cwd=folder.parent)
    assert len(set(answers(server))) == 1
    assert loads(server) == 1


def test_blocks_of_one_site_share_an_application(serve: Serve, folder: Path) -> None:
    """And so do those of different sites, in whatever they are wrapped."""
    inner = block(folder)
    site = f"handle_path /a/* {{\n{inner}\n}}\nroute /b/* {{\n{inner}\n}}\nhandle {{\n{inner}\n}}"
    server = serve(site, inner)
    tokens = {server.get(target).text for target in ("/a/x", "/b/x", "/c")}
    assert tokens == set(answers(server))
    assert len(tokens) == len(events(folder, "startup")) == loads(server) == 1


# Reloads


def test_a_reload_keeps_what_is_the_same_and_changes_the_rest(serve: Serve, folder: Path) -> None:
    kept, before, after = block(folder), block(folder, "threads 2"), block(folder, "threads 3")
    server = serve(kept, kept, before)
    shared, same, old = answers(server)
    assert shared == same != old

    done = server.reload(kept, f"handle /x {{\n{after}\n}}\nhandle {{\n{kept}\n}}", after)
    assert done.returncode == 0, done.stderr
    first, second, new = answers(server)
    assert first == second == shared
    assert new not in (shared, old)
    assert http1.request(server.ports[1], "GET", "/x").text == new
    wait_for(lambda: old in events(folder, "shutdown"), "the end of the changed application")
    assert events(folder, "shutdown") == [old]
    assert sorted(events(folder, "startup")) == sorted([shared, old, new])
    assert loads(server) == 3


def test_many_reloads_over_the_admin_api_load_nothing_anew(serve: Serve, folder: Path) -> None:
    sites = [block(folder), block(folder, "threads 2")]
    server = serve(*sites)
    before = answers(server)
    for count in range(10):
        comment = f"header X-Count {count}\n"
        answer = server.load(*(comment + site for site in sites))
        assert answer.status == 200, answer.text
        response = server.get("/")
        assert (response.get("x-count"), response.text) == (str(count), before[0])
    assert answers(server) == before
    assert loads(server) == 2
    assert events(folder, "shutdown") == []


def test_an_application_lives_until_its_last_block_is_gone(serve: Serve, folder: Path) -> None:
    site, other = block(folder), block(folder, "threads 2")
    server = serve(site, site, other)
    token, _, kept = answers(server)
    assert server.load("respond none", site, other).status == 200
    assert answers(server) == ["none", token, kept]
    assert events(folder, "shutdown") == []
    assert server.load("respond none", "respond none", other).status == 200
    wait_for(lambda: events(folder, "shutdown"), "the shutdown")
    assert events(folder, "shutdown") == [token]
    assert server.load(site, "respond none", other).status == 200
    again, _, still = answers(server)
    assert again != token
    assert still == kept


def test_a_refused_reload_changes_no_application(serve: Serve, folder: Path) -> None:
    """Not even those that it would have loaded before it failed."""
    site = block(folder)
    server = serve(site, site)
    before = answers(server)
    server.allow_log("nothing")
    answer = server.load(block(folder, "threads 2"), block(folder, target="nothing"))
    assert answer.status == 400
    assert "there is no 'nothing'" in json.loads(answer.body)["error"]
    assert answers(server) == before
    started = events(folder, "startup")
    extra = [token for token in started if token not in before]
    wait_for(lambda: set(extra) <= set(events(folder, "shutdown")), "the end of what was loaded")
    assert before[0] not in events(folder, "shutdown")
    assert started.count(before[0]) == 1
