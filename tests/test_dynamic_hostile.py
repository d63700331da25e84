"""What a client may not reach by the name of its site: nothing is imported, nothing is created."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from harness import http1
from harness.http1 import Connection, Response
from harness.plugin import Serve
from harness.server import Server
from harness.tenants import write

CODE = """
import pathlib
pathlib.Path({mark!r}).open("a").write(__file__ + "\\n")
def app(environ, start_response):
    start_response("200 OK", [])
    return [environ["PATH_INFO"].encode("latin-1")]
"""
BY_HEADER = """python {{
    module_wsgi main:app
    working_dir {folder}/sites/{{http.request.header.X-Site}}
}}"""
BY_PATH = """python {{
    module_wsgi main:app
    working_dir {folder}/sites/{{http.request.uri.path.0}}
}}"""
BY_HOST = """python {{
    module_wsgi main:app
    working_dir {folder}/sites/{{http.request.host.labels.0}}
}}"""
MODULE = """python {{
    module_wsgi {{http.request.header.X-Site}}:app
    working_dir {folder}/sites/good
}}"""
ALONE = """python {{
    module_wsgi main:app
    working_dir {{http.request.header.X-Site}}
}}"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("hostile")
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    code = CODE.format(mark=str(folder / "imported"))
    write(elsewhere, {"main.py": code})
    for name in ("sites/good", "outside", "."):
        write(folder / name, {"main.py": code})
    (folder / "sites" / "link").symlink_to(elsewhere)
    (folder / "sites" / "good" / "linked.py").symlink_to(folder / "outside" / "main.py")
    (folder / "sites" / "current").symlink_to("good")
    return folder


@pytest.fixture(scope="module")
def server(serve_module: Serve, folder: Path) -> Server:
    templates = (BY_HEADER, BY_PATH, BY_HOST, MODULE, ALONE)
    server = serve_module(*(each.format(folder=folder) for each in templates), cwd=folder)
    return server


def raw(port: int, target: bytes = b"/", *fields: bytes, host: bytes = b"localhost") -> Response:
    head = b"\r\n".join([b"GET " + target + b" HTTP/1.1", b"Host: " + host, *fields, b"", b""])
    with Connection(port) as connection:
        connection.send(head)
        return connection.response()


def imported(folder: Path) -> set[str]:
    path = folder / "imported"
    return set(path.read_text().splitlines()) if path.exists() else set()


def assert_refused(response: Response, folder: Path, *allowed: int) -> None:
    assert response.status in (allowed or (400, 404))
    assert response.body == b"" or b"Bad Request" in response.body
    reached = {str(folder / "sites" / name / "main.py") for name in ("good", "current")}
    assert imported(folder) <= reached


NAMES = [
    b"..",
    b".",
    b"../outside",
    b"good/../../outside",
    b"good/..",
    b"./good",
    b"/",
    b"/etc",
    b"good\\..\\..\\outside",
    b"\\",
    b"link",
    b"%2e%2e",
    b"..%2foutside",
    b"nobody",
    b"main.py",
    b"x" * 300,
    b"x/" * 3000,
    b"gr\xc3\xbc\xc3\x9f",
    b"\xff\xfe",
    b"{env.HOME}",
    b"{http.request.header.Other}",
    b"~",
    b"*",
    b"good\tx",
    b"",
]


@pytest.mark.smoke
@pytest.mark.conformance("T02")
@pytest.mark.parametrize("name", NAMES, ids=lambda name: repr(name)[:30])
def test_names_of_directories(server: Server, folder: Path, name: bytes) -> None:
    assert_refused(raw(server.ports[0], b"/", b"X-Site: " + name), folder)


@pytest.mark.conformance("T02")
@pytest.mark.parametrize(
    "target",
    [
        b"/..",
        b"/%2e%2e",
        b"/%2e",
        b"/..%2foutside",
        b"/%2e%2e%2foutside",
        b"/%2fetc",
        b"/good%00",
        b"/%00",
        b"/good%5c..",
        b"/link",
        b"//etc",
        b"/",
        b"/" + b"x" * 5000,
        b"/%ff",
    ],
    ids=lambda target: target.decode()[:30],
)
def test_names_in_paths(server: Server, folder: Path, target: bytes) -> None:
    assert_refused(raw(server.ports[1], target), folder)


@pytest.mark.conformance("T02")
@pytest.mark.parametrize(
    "host",
    [
        b"..",
        b".",
        b"a..b",
        b"",
        b"x" * 300,
        b"nobody",
        b"%2e%2e",
        b"..%2f",
        b"link",
        b"a\\b",
        b"[::1]",
    ],
    ids=lambda host: repr(host)[:30],
)
def test_names_of_hosts(server: Server, folder: Path, host: bytes) -> None:
    assert_refused(raw(server.ports[2], host=host), folder)


@pytest.mark.conformance("T02")
@pytest.mark.parametrize(
    "name",
    [
        b"os",
        b"sys",
        b"django",
        b"linked",
        b"..main",
        b"main:app",
        b"main.x:y",
        b"mai n",
        b"main-",
        b"1",
        b"outside.main",
        b"/main",
        b"caddysnake_py.bridge",
        b"_caddysnake",
        b"__main__",
        b"builtins",
    ],
)
def test_names_of_modules(server: Server, folder: Path, name: bytes) -> None:
    assert_refused(raw(server.ports[3], b"/", b"X-Site: " + name), folder)


@pytest.mark.conformance("T02")
@pytest.mark.parametrize("name", [b"..", b"/", b"sites/link", b"sites/../outside", b"/etc"])
def test_names_without_a_directory_before_them(server: Server, folder: Path, name: bytes) -> None:
    assert_refused(raw(server.ports[4], b"/", b"X-Site: " + name), folder)


@pytest.mark.conformance("T02")
def test_what_is_meant_to_be_reached_is(server: Server, folder: Path) -> None:
    for name in (b"good", b"current"):
        assert raw(server.ports[0], b"/", b"X-Site: " + name).status == 200
    for target in (b"/good", b"/good%2f..%2f..%2foutside"):  # the app's path, not a directory
        assert raw(server.ports[1], target).text.startswith("/good")
    assert raw(server.ports[2], host=b"GOOD").status == 200
    assert raw(server.ports[3], b"/", b"X-Site: main").status == 200
    assert raw(server.ports[4], b"/", b"X-Site: sites/good").status == 200


@pytest.mark.conformance("T03")
def test_ten_thousand_bogus_names_leave_nothing(server: Server, folder: Path) -> None:
    """Threads and descriptors are compared after the test (see harness/health.py)."""

    def ask(first: int, count: int) -> None:
        with Connection(server.ports[0]) as connection:
            for number in range(first, first + count):
                connection.request("GET", "/", [("X-Site", f"bogus{number}")])
                assert connection.response().status == 404

    ask(0, 1000)
    before = resident(server.pid)
    start = time.monotonic()
    ask(1000, 9000)
    assert time.monotonic() - start < 60
    assert resident(server.pid) - before < 20 << 20
    assert_refused(http1.request(server.ports[0], "GET", "/", [("X-Site", "bogus1")]), folder)


def resident(pid: int) -> int:
    """Resident memory in bytes."""
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * 4096
