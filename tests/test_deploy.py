"""Releases behind a symbolic link: the `deploy` command, and `probe`."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from harness.board import Board
from harness.caddyfile import python
from harness.crowd import Crowd
from harness.plugin import Serve
from harness.server import Server
from harness.settings import APPS
from harness.waiting import wait_for

RELEASE = """
VERSION = {version!r}


def app(environ, start_response):
    if environ["PATH_INFO"] == "/later":
        from later import VERSION as found
    else:
        found = VERSION
    if "HTTP_X_BOARD" in environ:
        from board import Board
        board = Board.of(environ)
        board.note("begun")
        board.wait("go")
        from late import VERSION as found
    if environ["PATH_INFO"] == "/health" and environ["HTTP_HOST"] != "shop.example":
        start_response("421 Misdirected Request", [])
        return [b"not a host of ours"]
    start_response("200 OK", [("X-Version", VERSION)])
    return [found.encode()]
"""


def release(folder: Path, version: str, code: str = RELEASE) -> Path:
    made = folder / "releases" / version
    made.mkdir(parents=True)
    (made / "main.py").write_text(code.format(version=version))
    for name in ("later", "late"):
        (made / f"{name}.py").write_text(f"VERSION = {version!r}\n")
    return made


@pytest.fixture
def site(tmp_path: Path) -> Path:
    """A directory with a release and the link to it."""
    folder = tmp_path / "shop"
    release(folder, "1")
    (folder / "current").symlink_to("releases/1")
    return folder


def block(site: Path, *options: str) -> str:
    return python("main:app", *options, folder=site / "current")


def deploy(
    server: Server, new: Path, *options: str, code: int = 0
) -> subprocess.CompletedProcess[str]:
    done = server.command("deploy", "--address", f"127.0.0.1:{server.admin}", *options, str(new))
    assert done.returncode == code, done.stdout + done.stderr
    return done


@pytest.mark.smoke
def test_a_release_replaces_another_and_no_request_is_lost(serve: Serve, site: Path) -> None:
    server = serve(block(site))
    new = release(site, "2")
    with Crowd(server, 8) as crowd:
        wait_for(lambda: crowd.answers[200, "1"] > 20, "traffic", 30)
        said = deploy(server, new)
        wait_for(lambda: crowd.answers[200, "2"] > 20, "traffic", 30)
    assert said.stdout == f"{new} is served; {site / 'current'} was releases/1\n"
    assert crowd.failures == []
    assert set(crowd.answers) == {(200, "1"), (200, "2")}
    assert (site / "current").resolve() == new


@pytest.mark.smoke
def test_a_release_that_does_not_load_is_not_served(serve: Serve, site: Path) -> None:
    server = serve(block(site))
    server.expect_log("No module named 'nowhere'")
    done = deploy(server, release(site, "2", "import nowhere\n"), code=1)
    assert "the release is not served: loading python app main:app" in done.stderr
    assert "ModuleNotFoundError: No module named 'nowhere'" in done.stderr
    assert (site / "current").readlink() == Path("releases/1")
    assert server.get("/").text == "1"


def test_code_that_fails_its_probe_is_not_served(serve: Serve, site: Path) -> None:
    server = serve(block(site, "probe shop.example/health"))
    good = RELEASE.replace('"shop.example"', '"another.example"')
    server.expect_log("not a host of ours")
    done = deploy(server, release(site, "2", good), code=1)
    said = "probe shop.example/health: status 421: not a host of ours"
    assert said in done.stderr
    assert server.get("/").text == "1"
    server.expect_log("exception in WSGI application")
    server.expect_log("probe shop.example/health: status 500: python application failed")
    broken = RELEASE.replace('environ["PATH_INFO"] == "/later"', "1 / 0")
    done = deploy(server, release(site, "3", broken), code=1)
    assert "probe shop.example/health: status 500: python application failed" in done.stderr
    assert server.get("/").text == "1"
    deploy(server, release(site, "4"))
    assert server.get("/").text == "4"


def test_a_probe_that_is_not_answered_in_time_fails(serve: Serve, site: Path) -> None:
    server = serve(block(site))
    slow = RELEASE.replace("    if ", "    import time\n    time.sleep(4)\n    if ", 1)
    server.expect_log("status 504")
    (site / "current" / "main.py").write_text(slow.format(version="slow"))
    answer = server.load(block(site, "probe /", "start_timeout 2s"))
    assert answer.status == 400
    assert "probe /: status 504: " in answer.text
    assert server.get("/").text == "1"
    server.allow_log("requests of an unloaded python app still run|RequestTimeout")


@pytest.mark.parametrize("value", ["health", "http://host/health", "host:port/health", "/a#b"])
def test_a_probe_that_is_none(unstarted: Serve, site: Path, value: str) -> None:
    said = unstarted(block(site, f"probe {value}")).run_in_vain()
    assert f"probe must be a path such as /health, or a host and a path, not '{value}'" in said


def test_a_request_has_the_code_that_it_has_begun_with(
    serve: Serve, site: Path, board: Board
) -> None:
    """What an old release imports after the link points elsewhere is still its own."""
    server = serve(block(site, f"python_path {APPS / 'bare'}"))
    with server.connect() as connection:
        connection.request("GET", "/", board.headers)
        board.wait("begun")
        deploy(server, release(site, "2"))
        assert server.get("/later").text == "2"
        board.post("go")
        assert connection.response().text == "1"


def test_what_can_t_be_deployed(serve: Serve, site: Path) -> None:
    server = serve(block(site))
    new = release(site, "2")
    for options, said in (
        ([str(new / "main.py")], "main.py is not a directory"),
        (["--link", str(site / "other"), str(new)], "no python application of the running"),
        (["--link", str(site / "releases" / "1"), str(new)], "no python application"),
    ):
        done = server.command("deploy", "--address", f"127.0.0.1:{server.admin}", *options)
        assert done.returncode == 1
        assert said in done.stderr
    (site / "current").unlink()
    (site / "current").mkdir()
    done = deploy(server, new, code=1)
    assert "current is not a symbolic link" in done.stderr
    server.stop()
    done = server.command("deploy", "--address", f"127.0.0.1:{server.admin}", str(new))
    assert done.returncode == 1
    assert "connection refused" in done.stderr
    (site / "current").rmdir()
    (site / "current").symlink_to("releases/2")
    server.start()
