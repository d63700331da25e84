"""Caddyfiles of earlier releases: they load, serve as their authors meant, and the log says what
has become of their options."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from harness import http1
from harness.caddyfile import python
from harness.plugin import Serve
from harness.server import Server
from harness.settings import BINARY, REPOSITORY
from harness.tenants import write

# Answers with where it was called, what it finds, and how much it was sent.
WSGI = """
import json, os, sys
try:
    from common import COMMON
except ImportError:
    COMMON = None
PATH = list(sys.path)

def app(environ, start_response):
    told = {
        "script": environ["SCRIPT_NAME"],
        "path": environ["PATH_INFO"],
        "common": COMMON,
        "variables": [os.environ.get("STAGE"), os.environ.get("SECRET")],
        "sys.path": PATH,
        "read": len(environ["wsgi.input"].read()),
    }
    start_response("200 OK", [("Content-Type", "application/json")])
    return [json.dumps(told).encode()]
"""

ASGI = """
import json

async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        while True:
            message = await receive()
            await send({"type": message["type"] + ".complete"})
            if message["type"] == "lifespan.shutdown":
                return
    told = {"script": scope["root_path"], "path": scope["path"]}
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": json.dumps(told).encode()})
"""

# One site, as small as they were.
SMALL = """
{
    admin localhost:2019
    auto_https off
}
:9080 {
    route {
        python {
            module_wsgi "main:app"
            workers 1
        }
    }
}
"""

# A WSGI site with everything, behind static files.
SHOP = """
{
    admin localhost:2019
    http_port 9080
    log {
        level INFO
    }
}

(python_defaults) {
    workers 4
    workers_runtime process
    start_timeout forever
}

:9080 {
    encode gzip
    handle /static/* {
        root * ./static
        uri strip_prefix /static
        file_server
    }
    handle {
        python {
            module_wsgi main:app
            working_dir ./shop
            python_path ./lib ./more
            import python_defaults
            env_var STAGE "production"
            env_file ./shop.env
            request_body {
                max_size 1KB
            }
        }
    }
}
"""

# Two applications, told apart by the path, which each of them sees as a whole.
TWO = """
{
    admin localhost:2019
}

:9080 {
    python /api/* {
        module_asgi api:app
        working_dir shop
        runtime thread
        workers 2
        lifespan on
        start_timeout -1
    }
    python /* {
        module_wsgi main:app
        working_dir shop
        workers_runtime thread
    }
}
"""

# An application for each host.
TENANTS = """
{
    admin localhost:2019
    http_port 9080
}

*.example.com:9080 {
    route /* {
        python {
            module_wsgi "main:app"
            working_dir "{http.request.host.labels.2}/"
            max_dynamic_apps 10
        }
    }
}
"""

Run = Callable[[str], Server]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    files = {
        "main.py": WSGI,
        "shop/main.py": WSGI,
        "shop/api.py": ASGI,
        "shop.env": "SECRET=shh\n",
        "lib/common.py": "COMMON = 'lib'\n",
        "more/common.py": "COMMON = 'more'\n",
        "static/style.css": "body {}\n",
        "app1/main.py": WSGI,
        "app1/common.py": "COMMON = 'app1'\n",
        "app2/main.py": WSGI,
        "app2/common.py": "COMMON = 'app2'\n",
    }
    write(tmp_path, files)
    return tmp_path


@pytest.fixture
def configure(unstarted: Serve, folder: Path) -> Run:
    """Makes a server of a whole Caddyfile, whose ports are changed to free ones."""

    def run(text: str) -> Server:
        server = unstarted("", canary=False, cwd=folder)
        server.write_text(
            text.replace("9080", str(server.port)).replace(":2019", f":{server.admin}")
        )
        return server

    return run


def warnings(server: Server) -> list[str]:
    """What the log has to say of the options, without the rest of the sentence."""
    found = server.log.find("^python: ", level="warn")
    assert all(record.fields["file"].endswith("Caddyfile") for record in found)
    assert all(record.fields["line"] > 1 for record in found)
    return [re.split("[:;]", record.message)[1].strip() for record in found]


def told(response: http1.Response) -> dict[str, object]:
    assert response.status == 200, response.text
    found: dict[str, object] = json.loads(response.body)
    return found


@pytest.mark.smoke
def test_a_small_site(configure: Run) -> None:
    server = configure(SMALL).start()
    assert told(server.get("/hello"))["path"] == "/hello"
    assert warnings(server) == []
    assert len(server.log.find("python app loaded", workers=1)) == 1


@pytest.mark.smoke
def test_a_site_with_all_options(configure: Run, folder: Path) -> None:
    server = configure(SHOP).start()
    found = told(server.get("/a"))
    assert found["variables"] == ["production", "shh"]
    assert found["common"] == "lib"
    first = [str(folder / name) for name in ("shop", "lib", "more")]
    assert found["sys.path"][:3] == first  # type: ignore[index]
    assert server.get("/static/style.css").text == "body {}\n"
    assert warnings(server) == [
        "request_body has become a directive of Caddy",
    ]


def test_the_limit_of_request_body_holds(configure: Run) -> None:
    server = configure(SHOP).start()
    assert told(server.request("POST", "/", body=b"x" * 1000))["read"] == 1000
    assert server.request("POST", "/", body=b"x" * 1001).status == 413
    server.expect_app_log("OSError: .*larger than the server allows")
    assert server.request("POST", "/", body=[b"x" * 600] * 2).status == 413


@pytest.mark.smoke
def test_prefixes_of_blocks_stay_in_the_path(configure: Run) -> None:
    server = configure(TWO).start()
    assert told(server.get("/api/users/5")) == {"script": "", "path": "/api/users/5"}
    found = told(server.get("/users"))
    assert (found["script"], found["path"]) == ("", "/users")
    assert warnings(server) == ["runtime thread has no effect"]


def test_applications_by_host_with_a_limit(configure: Run) -> None:
    server = configure(TENANTS).start()
    for name in ("app1", "app2"):
        target = f"http://{name}.example.com:{server.port}/"
        assert told(server.get(target))["common"] == name
    renamed = "max_dynamic_apps is called max_apps now, and has the same effect"
    assert warnings(server) == [renamed]


@pytest.mark.parametrize("command", [["adapt"], ["validate"]])
def test_commands_that_read_a_caddyfile_show_the_warnings(
    configure: Run, command: Sequence[str]
) -> None:
    server = configure(SHOP)
    path = server.write_text(SHOP)
    done = server.command(*command, "--config", str(path), "--adapter", "caddyfile")
    assert done.returncode == 0, done.stderr
    said = "python: request_body has become a directive of Caddy"
    assert said in done.stderr


def test_a_reload_over_the_admin_api_logs_the_warnings(configure: Run) -> None:
    server = configure(SMALL).start()
    text = SMALL.replace("workers 1", "runtime thread").replace("9080", str(server.port))
    text = text.replace(":2019", f":{server.admin}")
    headers = [("Content-Type", "text/caddyfile")]
    answer = http1.request(server.admin, "POST", "/load", headers, text.encode(), timeout=60)
    assert answer.status == 200, answer.text
    assert warnings(server) == ["runtime thread has no effect"]


def adapt(*options: str) -> subprocess.CompletedProcess[str]:
    lines = "\n".join(options)
    return subprocess.run(
        [BINARY, "adapt", "--config", "-", "--adapter", "caddyfile"],
        input=f":9080 {{\npython main:app {{\n{lines}\n}}\n}}\n",
        capture_output=True,
        text=True,
        timeout=60,
    )


def test_packages_of_an_environment_on_python_path_are_pointed_to_venv() -> None:
    done = adapt("python_path /srv/venv/lib/python3.11/site-packages")
    assert done.returncode == 0
    assert "name their virtual environment with venv instead" in done.stderr


def test_what_still_holds_is_not_warned_of() -> None:
    done = adapt(
        "workers_runtime thread",
        "python_path /srv/lib",
        "start_timeout forever",
        "env_file /srv/a.env",
        "env_var A b",
    )
    assert done.returncode == 0
    assert '"msg":"python: ' not in done.stderr


def test_a_bad_value_is_an_error_with_its_line() -> None:
    done = adapt("workers_runtime fibers")
    assert done.returncode != 0
    why = r"workers_runtime must be thread or process, not 'fibers', at .*:3"
    assert re.search(why, done.stderr)


def test_all_old_options_are_documented() -> None:
    source = (REPOSITORY / "caddyfile_legacy.go").read_text()
    known = set(re.findall(r'^\tcase "(\w+)":', source, re.MULTILINE)) - {"thread", "process"}
    assert {"runtime", "request_body"} < known
    text = (REPOSITORY / "docs" / "coming-from" / "older-caddyfiles.md").read_text()
    assert {name for name in known if f"`{name}" in text} == known


# python_path


@pytest.mark.smoke
def test_modules_on_python_path_belong_to_the_application(serve: Serve, tmp_path: Path) -> None:
    """Each has its own copy of a module, even of the same file."""
    source = """
import state
state.users = getattr(state, "users", 0) + 1

def app(environ, start_response):
    start_response("200 OK", [])
    return [f"{state.__file__} {state.users}".encode()]
"""
    write(tmp_path, {"one/main.py": source, "two/main.py": source, "lib/state.py": ""})
    block = "python main:app {{\n working_dir {}\n python_path {}\n}}"
    server = serve(*(block.format(tmp_path / name, tmp_path / "lib") for name in ("one", "two")))
    for port in server.ports:
        answer = http1.request(port, "GET", "/").text
        assert answer == f"{tmp_path}/lib/state.py 1"


@pytest.mark.parametrize("name", ["shop", "calendar", "json", "time"])
def test_the_application_itself_may_be_on_python_path(
    serve: Serve, tmp_path: Path, name: str
) -> None:
    """Also if it is called like a module of the standard library, loaded before or built in."""
    source = """
from common import COMMON

def app(environ, start_response):
    start_response("200 OK", [])
    return [COMMON.encode()]
"""
    write(tmp_path, {f"lib/{name}.py": source, "work/common.py": "COMMON = 'work'"})
    block = "python {1}:app {{\n working_dir {0}/work\n python_path {0}/lib\n}}"
    server = serve(block.format(tmp_path, name))
    assert server.get("/").text == "work"


def test_what_changes_on_python_path_is_seen_by_the_next_load(serve: Serve, tmp_path: Path) -> None:
    write(tmp_path, {"work/main.py": WSGI, "lib/other.py": ""})

    def block(stage: int) -> str:
        options = (f"python_path {tmp_path}/lib", f"env_var STAGE {stage}")
        return python("main:app", *options, folder=tmp_path / "work", venv=None)

    server = serve(block(1))
    assert told(server.get("/"))["common"] is None
    for stage, value in enumerate(["added", "changed"], 2):
        write(tmp_path, {"lib/common.py": f"COMMON = '{value}'"})
        assert server.load(block(stage)).status == 200
        assert told(server.get("/"))["common"] == value


def test_placeholders_in_python_path(configure: Run) -> None:
    """The same application for all hosts, but for what it finds there."""
    text = TENANTS.replace(
        'working_dir "{http.request.host.labels.2}/"',
        'working_dir shop\npython_path "{http.request.host.labels.2}/"',
    )
    server = configure(text).start()
    for name in ("app1", "app2"):
        target = f"http://{name}.example.com:{server.port}/"
        assert told(server.get(target))["common"] == name
    target = f"http://nobody.example.com:{server.port}/"
    assert server.get(target).status == 404
    assert len(server.log.find("^python app loaded$")) == 2


def test_a_directory_of_python_path_that_is_not_there_is_named_in_the_log(
    serve: Serve, tmp_path: Path
) -> None:
    write(tmp_path, {"main.py": WSGI})
    server = serve(f"python main:app {{\n working_dir {tmp_path}\n python_path {tmp_path}/no\n}}")
    server.expect_log(f"python_path {tmp_path}/no: no such directory", level="warn", times=1)
    assert server.get("/").status == 200


# start_timeout


@pytest.mark.parametrize("value", ["forever", "-1"])
def test_a_start_without_limit_succeeds(serve: Serve, tmp_path: Path, value: str) -> None:
    """A duration that is already over would have failed it."""
    write(tmp_path, {"main.py": WSGI})
    server = serve(f"python main:app {{\n working_dir {tmp_path}\n start_timeout {value}\n}}")
    assert server.get("/").status == 200
