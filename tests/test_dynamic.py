"""Placeholders: each request names its app, which is loaded when it is needed first."""

from __future__ import annotations

import socket
import ssl
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from harness import http1
from harness.board import Board
from harness.health import Slack
from harness.http1 import Connection, Response
from harness.plugin import Serve
from harness.server import Server
from harness.tenants import write
from harness.waiting import wait_for

# Each loaded ASGI app has a thread and a few descriptors, for as long as it is loaded.
APPS = Slack(python_threads=3, descriptors=20)
LABEL = "{http.request.host.labels.2}"
COULD_NOT_LOAD = "could not be loaded"

WSGI = """
import os, sys, tenant
def app(environ, start_response):
    start_response("200 OK", [("X-Pid", str(os.getpid()))])
    return [f"{tenant.NAME} {os.environ.get('SITE')} {id(sys.modules[__name__])}".encode()]
"""
ASGI = """
import os, sys, tenant
async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        while True:
            kind = (await receive())["type"]
            print(kind, tenant.NAME, flush=True)
            await send({"type": kind + ".complete"})
            if kind.endswith("shutdown"):
                return
    await send({"type": "http.response.start", "status": 200, "headers": []})
    text = f"{tenant.NAME} {os.environ.get('SITE')} {id(sys.modules[__name__])}"
    await send({"type": "http.response.body", "body": text.encode()})
"""
CODE = {"module_wsgi": WSGI, "module_asgi": ASGI}


def make_sites(folder: Path, interface: str, *names: str) -> None:
    for name in names:
        write(folder / name, {"main.py": CODE[interface], "tenant.py": f"NAME = {name!r}\n"})


def block(interface: str, folder: Path, *options: str, module: str = "main:app") -> str:
    lines = [f"{interface} {module}", f"working_dir {folder}/{LABEL}", *options]
    return "python {\n" + "\n".join(f"    {line}" for line in lines) + "\n}"


def ask(server: Server, site: str, port: int | None = None) -> Response:
    host = [("Host", f"{site}.example.com")]
    return http1.request(port or server.port, "GET", "/", host, timeout=60)


def loads(server: Server) -> int:
    return len(server.log.find("^python app loaded$")) - 2  # the canaries


@pytest.fixture(params=["module_wsgi", "module_asgi"])
def interface(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.mark.smoke
@pytest.mark.conformance("T01")
def test_each_host_has_its_own_app_of_the_same_name(
    serve: Serve, tmp_path: Path, interface: str
) -> None:
    make_sites(tmp_path, interface, "one", "two", "three")
    server = serve(block(interface, tmp_path, f"env_var SITE {LABEL}"), slack=APPS)
    assert loads(server) == 0
    identities = set()
    for name in ("one", "two", "three"):
        for host in (name, name.upper(), name):
            found, variable, identity = ask(server, host).text.split()
            assert (found, variable) == (name, name)
            identities.add(identity)
    assert len(identities) == 3
    assert loads(server) == 3


@pytest.mark.conformance("T01")
@pytest.mark.parametrize("secure", [False, True])
def test_the_caddyfiles_that_people_write(unstarted: Serve, tmp_path: Path, secure: bool) -> None:
    """Relative directories, a module named by the request or always main:app."""
    for name in ("app1", "app2"):
        files = {"tenant.py": f"NAME = {name!r}\n"}
        write(tmp_path / name, {**files, f"{name}.py": ASGI, "main.py": ASGI})
    server = unstarted("respond ok", "respond ok", cwd=tmp_path, canary=False)
    sites = [
        f"""*.example.com:{port} {{
            route /* {{
                python {{
                    module_asgi "{module}:app"
                    working_dir "{LABEL}/"
                }}
            }}
        }}"""
        for port, module in zip(server.ports, (LABEL, "main"), strict=True)
    ]
    tls = ["local_certs", "skip_install_trust"] if secure else ["auto_https off"]
    options = [f"admin 127.0.0.1:{server.admin}", "default_bind 127.0.0.1", *tls]
    text = "{\n" + "\n".join(options) + "\n}\n"
    if not secure:
        sites = [site.replace("*.", "http://*.", 1) for site in sites]
    server._caddyfile.write_text(text + "\n".join(sites))
    server.start()
    for port in server.ports:
        for name in ("app1", "app2"):
            host = f"{name}.example.com"
            if secure:
                context = ssl.create_default_context()
                context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
                status, body = https(port, host, context)
            else:
                response = ask(server, name, port)
                status, body = response.status, response.text
            assert (status, body.split()[0]) == (200, name)


def https(port: int, host: str, context: ssl.SSLContext) -> tuple[int, str]:
    def certificate_is_there() -> bool:
        try:
            with socket.create_connection(("127.0.0.1", port)) as raw:
                context.wrap_socket(raw, server_hostname=host).close()
        except ssl.SSLError:
            return False
        return True

    wait_for(certificate_is_there, "the certificate", 60)
    with (
        socket.create_connection(("127.0.0.1", port)) as raw,
        context.wrap_socket(raw, server_hostname=host) as secured,
    ):
        secured.sendall(f"GET / HTTP/1.0\r\nHost: {host}\r\n\r\n".encode())
        data = b""
        while piece := secured.recv(65536):
            data += piece
    head, _, body = data.partition(b"\r\n\r\n")
    return int(head.split()[1]), body.decode()


# Loading


def test_fifty_first_requests_are_one_import(
    serve: Serve, tmp_path: Path, interface: str, board: Board
) -> None:
    make_sites(tmp_path, interface, "one")
    slow = (
        f"import time\nopen({str(board.folder / 'import')!r}, 'a').write('x\\n')\ntime.sleep(1)\n"
    )
    (tmp_path / "one" / "main.py").write_text(slow + CODE[interface])
    server = serve(block(interface, tmp_path), slack=APPS)
    with ThreadPoolExecutor(50) as pool:
        answers = list(pool.map(lambda _: ask(server, "one"), range(50)))
    assert {answer.status for answer in answers} == {200}
    assert len({answer.text for answer in answers}) == 1
    assert board.lines("import") == ["x"]


def test_a_slow_import_delays_nobody_and_outlives_its_client(
    serve: Serve, tmp_path: Path, interface: str, board: Board
) -> None:
    make_sites(tmp_path, interface, "slow", "other")
    waits = (
        "import os, time\n"
        f"open({str(board.folder / 'import')!r}, 'a').write('x\\n')\n"
        f"while not os.path.exists({str(board.folder / 'go on')!r}): time.sleep(0.01)\n"
    )
    (tmp_path / "slow" / "main.py").write_text(waits + CODE[interface])
    server = serve(block(interface, tmp_path), slack=APPS)
    with Connection(server.port) as connection:
        connection.request("GET", "/", [("Host", "slow.example.com")])
        board.wait("import")
        assert ask(server, "other").status == 200  # first request of a cold app
        for _ in range(20):
            assert ask(server, "other").status == 200
    board.post("go on")
    assert ask(server, "slow").text.split()[0] == "slow"
    assert board.lines("import") == ["x"]


@pytest.mark.conformance("T03")
@pytest.mark.parametrize(
    ("code", "reason"),
    [
        ("raise ValueError('planted')", "ValueError: planted"),
        ("def app(:", "SyntaxError"),
        ("import sys; sys.exit(3)", "SystemExit"),
        ("import nothing_of_that_name", "ModuleNotFoundError"),
        ("other = 1", "there is no 'app'"),
        ("app = 5", "not an application"),
    ],
)
def test_a_failing_app_is_a_500_until_it_is_changed(
    serve: Serve, tmp_path: Path, interface: str, code: str, reason: str
) -> None:
    make_sites(tmp_path, interface, "bad", "good")
    (tmp_path / "bad" / "main.py").write_text(code)
    server = serve(block(interface, tmp_path), slack=APPS)
    server.expect_log(COULD_NOT_LOAD, times=5)
    server.expect_app_log(reason, times=1)
    for _ in range(5):
        response = ask(server, "bad")
        assert (response.status, response.text) == (500, "")
        assert ask(server, "good").status == 200
    (tmp_path / "bad" / "main.py").write_text(CODE[interface])
    assert ask(server, "bad").text.split()[0] == "bad"


@pytest.mark.conformance("T03")
def test_a_failed_load_is_tried_again_after_a_while(serve: Serve, tmp_path: Path) -> None:
    """What was missing need not be a file of the app."""
    make_sites(tmp_path, "module_wsgi", "one")
    switch = tmp_path / "switch"
    waits = f"import os\nassert os.path.exists({str(switch)!r}), 'planted'\n"
    (tmp_path / "one" / "main.py").write_text(waits + WSGI)
    server = serve(block("module_wsgi", tmp_path), slack=APPS)
    server.expect_app_log("AssertionError: planted", times=1)
    server.expect_log(COULD_NOT_LOAD)
    assert ask(server, "one").status == 500
    switch.touch()
    assert ask(server, "one").status == 500
    wait_for(lambda: ask(server, "one").status == 200, "the next try", 20)


# Limits


@pytest.mark.conformance("T05")
def test_the_app_that_was_idle_for_longest_makes_room(
    serve: Serve, tmp_path: Path, interface: str
) -> None:
    make_sites(tmp_path, interface, "one", "two", "three")
    server = serve(block(interface, tmp_path, "max_apps 2"), slack=APPS)
    first = {name: ask(server, name).text for name in ("one", "two")}
    assert ask(server, "one").text == first["one"]
    assert ask(server, "three").status == 200  # in place of two
    wait_for(lambda: server.log.find("^python app unloaded$"), "the unload")
    assert ask(server, "one").text == first["one"]
    assert loads(server) == 3
    assert ask(server, "two").text.split()[0] == "two"
    assert loads(server) == 4


WAITING = """
import os, time
def app(environ, start_response):
    start_response("200 OK", [])
    path = environ.get("HTTP_X_BOARD")
    if path:
        open(os.path.join(path, "here"), "a").write("x\\n")
        while not os.path.exists(os.path.join(path, "go on")):
            time.sleep(0.01)
    return [b"done"]
"""


@pytest.mark.conformance("T05")
def test_a_full_house_says_503_and_when_to_come_again(
    serve: Serve, tmp_path: Path, board: Board
) -> None:
    for name in ("one", "two"):
        write(tmp_path / name, {"main.py": WAITING})
    server = serve(block("module_wsgi", tmp_path, "max_apps 1"), slack=APPS)
    server.expect_log("all python apps that max_apps allows are busy", times=1)
    with Connection(server.port) as connection:
        connection.request("GET", "/", [("Host", "one.example.com"), *board.headers])
        board.wait("here")
        response = ask(server, "two")
        assert (response.status, response.get("retry-after")) == (503, "1")
        board.post("go on")
        assert connection.response().text == "done"
    wait_for(lambda: ask(server, "two").status == 200, "room")


@pytest.mark.conformance("T05")
def test_idle_apps_are_unloaded_and_come_back(serve: Serve, tmp_path: Path, interface: str) -> None:
    names = [f"site{number}" for number in range(20)]
    make_sites(tmp_path, interface, *names)
    server = serve(block(interface, tmp_path, "idle_timeout 1s"))
    for name in names:
        assert ask(server, name).text.split()[0] == name
    wait_for(lambda: len(server.log.find("^python app unloaded$")) == 20, "the unloads", 30)
    if interface == "module_asgi":
        assert len(server.log.find("^lifespan.shutdown site")) == 20
    assert ask(server, names[0]).status == 200
    assert loads(server) == 21
    # After the test, threads and descriptors must be those of before (see harness/health.py).
    wait_for(lambda: len(server.log.find("^python app unloaded$")) == 21, "the last one", 30)


@pytest.mark.parametrize("option", ["max_apps 2", "idle_timeout 1m"])
def test_limits_without_placeholders_have_no_effect(
    serve: Serve, tmp_path: Path, option: str
) -> None:
    make_sites(tmp_path, "module_wsgi", "one")
    server = serve(block("module_wsgi", tmp_path, option).replace(LABEL, "one"), slack=APPS)
    assert server.log.find("max_apps and idle_timeout have no effect")
    assert server.get("/").status == 200


# Config reloads


@pytest.mark.conformance("T11")
def test_apps_outlive_a_reload_that_leaves_their_block_alone(
    serve: Serve, tmp_path: Path, interface: str
) -> None:
    make_sites(tmp_path, interface, "one", "two")
    body = block(interface, tmp_path)
    server = serve(body, "respond before", slack=APPS)
    before = ask(server, "one").text
    assert server.reload(body, "respond after").returncode == 0
    assert ask(server, "one").text == before
    assert loads(server) == 1
    assert server.reload(block(interface, tmp_path, "env_var A b"), "respond after").returncode == 0
    wait_for(lambda: server.log.find("^python app unloaded$"), "the unload")
    assert ask(server, "one").text.split()[0] == "one"
    assert loads(server) == 2


def test_equal_settings_are_one_app_however_they_came_about(
    serve: Serve, tmp_path: Path, interface: str
) -> None:
    make_sites(tmp_path, interface, "one")
    body = block(interface, tmp_path)
    server = serve(
        body, body.replace(LABEL, "one"), block(interface, tmp_path, "max_apps 7"), slack=APPS
    )
    answers = {ask(server, "one", port).text for port in server.ports}
    assert len(answers) == 1
    assert loads(server) == 1
