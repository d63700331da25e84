"""`caddy reload`: apps that are not concerned stay as they are, with `--force` none does (T11)."""

from __future__ import annotations

import json
import signal
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from harness import http1
from harness.board import Board
from harness.caddyfile import BRIEF_GRACE, wsgi
from harness.health import ONE_THREAD, Slack
from harness.plugin import Serve
from harness.ports import HOST
from harness.server import Server
from harness.source import ASGI, EAGER, WSGI, Source, await_version, put
from harness.waiting import wait_for

pytestmark = pytest.mark.conformance("T11")

LOADED = "^python app loaded$"


@pytest.fixture(params=[WSGI, ASGI], ids=["wsgi", "asgi"])
def source(request: pytest.FixtureRequest, tmp_path: Path) -> Source:
    return Source(tmp_path / "site", request.param)


def loads(server: Server) -> int:
    return len(server.log.find(LOADED))


@pytest.mark.smoke
def test_the_command_loads_the_code_of_unchanged_apps_anew(serve: Serve, source: Source) -> None:
    body = source.block(autoreload=None)
    server = serve(body)
    for number in range(3):
        source.write(f"deploy {number}")
        done = server.reload(body, force=True)
        assert done.returncode == 0, done.stderr
        assert server.get("/").text == f"deploy {number}"
    # One app of the test and two canaries, each time.
    assert loads(server) == 4 * 3
    wait_for(lambda: len(server.log.find("^python app unloaded$")) == 9, "the old ones to go")


@pytest.mark.smoke
@pytest.mark.parametrize("change", ["nothing", "something else"])
def test_unforced_reloads_leave_the_app_as_it_is(serve: Serve, source: Source, change: str) -> None:
    body = source.block(autoreload=None)
    server = serve(body)
    source.write("forced")
    assert server.force(body).status == 200
    before = loads(server)
    source.write("not loaded")
    other = body if change == "nothing" else f"header X-Other yes\n{body}"
    for _ in range(2):
        assert server.load(other).status == 200
        assert server.get("/").text == "forced"
    assert loads(server) == before


@pytest.mark.smoke
def test_a_forced_reload_of_broken_code_is_rejected(serve: Serve, source: Source) -> None:
    body = source.block(autoreload=None)
    server = serve(body)
    server.allow_log(".")
    put(source.main, "raise ValueError('planted: broken')\n")
    for _ in range(2):
        answer = server.force(body)
        assert answer.status == 400
        assert "planted: broken" in json.loads(answer.body)["error"]
        assert server.get("/").text == "1"
    before = loads(server)
    assert server.load(f"header X-Other yes\n{body}").status == 200  # still the same app
    assert server.get("/").text == "1"
    assert loads(server) == before
    source.write("fixed")
    assert server.force(body).status == 200
    assert server.get("/").text == "fixed"


def test_identical_blocks_stay_one_app(serve: Serve, source: Source) -> None:
    block = source.block(autoreload=None)
    body = f"handle /two {{\n{block}\n}}\nhandle {{\n{block}\n}}"
    server = serve(body)
    before = loads(server)
    source.write("2")
    assert server.force(body).status == 200
    assert [server.get(target).text for target in ("/", "/two")] == ["2", "2"]
    assert loads(server) == 2 * before


@pytest.mark.parametrize("name", ["site", "{http.request.uri.query.site}"])
@pytest.mark.parametrize("what", ["code", "settings"])
def test_a_request_that_another_handler_has_held_up_comes_late(
    serve: Serve, source: Source, board: Board, name: str, what: str
) -> None:
    """Its server has been replaced, and its app is gone."""

    def bodies(*options: str) -> tuple[str, str]:
        block = source.block(*options, autoreload=None, folder=str(source.folder.parent / name))
        waits = f"forward_auth {HOST}:{server.ports[1]} {{\n    uri /waits\n}}"
        return f"{waits}\n{block}", wsgi("guest:app")

    server = serve(
        "", "", slack=Slack(python_threads=1, descriptors=12)
    )  # The baseline has no app.
    assert server.load(*bodies()).status == 200
    with server.connect() as connection, server.connect() as warming_up:
        board.post("go")
        warming_up.request("GET", "/?site=site", board.headers)
        assert warming_up.response().text == "1"
        (board.folder / "go").unlink()
        connection.request("GET", "/?site=site", board.headers)
        board.wait("running", 2)
        source.write("2")
        if what == "code":
            assert server.force(*bodies()).status == 200
        else:
            assert server.load(*bodies("env_var OTHER yes")).status == 200
        gone = {"app": "edited:app"}
        wait_for(lambda: server.log.find("^python app unloaded$", **gone), "the old one to go")
        board.post("go")
        response = connection.response()
    if what == "code":
        assert (response.status, response.text) == (200, "2")
    else:
        server.expect_log("the python app has been stopped")
        assert (response.status, response.get("retry-after")) == (503, "1")


def test_autoreload_goes_on_after_reloads_of_both_kinds(serve: Serve, source: Source) -> None:
    body = source.block(autoreload=EAGER)
    server = serve(body)
    assert server.force(body).status == 200
    source.write("after the forced one")
    await_version(server, "after the forced one")
    assert server.load(f"header X-Other yes\n{body}").status == 200
    source.write("after the other")
    await_version(server, "after the other")


@pytest.mark.in_process("a start that is given up ends with its worker")
def test_a_forced_reload_while_changed_code_is_loaded(serve: Serve, source: Source) -> None:
    """Both load the same code at the same time; what autoreload has begun is not used."""
    body = source.block(autoreload=EAGER)
    server = serve(body)
    reached, go = source.folder / "reached", source.folder / "go"
    put(
        source.main,
        f"import os, time\nopen({str(reached)!r}, 'a').write('.')\n"
        f"while not os.path.exists({str(go)!r}):\n    time.sleep(0.01)\n" + source.code("2"),
    )

    def imports() -> int:
        return len(reached.read_text()) if reached.exists() else 0

    wait_for(lambda: imports() == 1, "autoreload to begin")
    with ThreadPoolExecutor() as pool:
        forced = [pool.submit(server.force, body)]
        wait_for(lambda: imports() == 2, "the forced reload to begin")
        forced.append(pool.submit(server.force, body))  # It waits for the other one.
        assert server.get("/").text == "1"
        go.touch()
        assert [each.result().status for each in forced] == [200, 200]
    assert server.get("/").text == "2"
    # The first, what autoreload has loaded, and what the first forced reload has.
    gone = {"app": "edited:app"}
    wait_for(
        lambda: len(server.log.find("^python app unloaded$", **gone)) == 3, "all old code to go"
    )
    source.write("3")
    await_version(server, "3")


def test_the_admin_endpoint_is_otherwise_caddys(serve: Serve, source: Source) -> None:
    server = serve(source.block(autoreload=None))
    assert http1.request(server.admin, "GET", "/load").status == 405
    answer = http1.request(server.admin, "POST", "/load", [("Content-Type", "text/none")], b"x")
    assert answer.status == 400
    server.allow_log(".")


@pytest.mark.smoke
@pytest.mark.parametrize("way", ["signal", "api"])
def test_a_thread_stuck_in_c_does_not_hold_up_the_end(
    serve: Serve, tmp_path: Path, board: Board, way: str
) -> None:
    """It waits for a lock that nobody gives back, in a system call and with the GIL released."""
    source = Source(
        tmp_path / "site",
        """
import ctypes, os

VERSION = {version!r}


def app(environ, start_response):
    folder = environ.get("HTTP_X_BOARD")
    if folder:
        open(os.path.join(folder, "stuck"), "a").write("\\n")
        ctypes.CDLL(None).pause()
    start_response("200 OK", [])
    return [VERSION.encode()]
""",
    )
    server = serve(source.block(), options=[BRIEF_GRACE], slack=ONE_THREAD)
    server.allow_log(".")
    with server.connect() as connection:
        connection.request("GET", "/", board.headers)
        board.wait("stuck")
        source.write("2")
        await_version(server, "2")  # It does not hold up a reload either.
        assert server.process is not None
        if way == "signal":
            server.process.send_signal(signal.SIGTERM)
        else:
            assert http1.request(server.admin, "POST", "/stop", timeout=30).status == 200
        assert server.process.wait(25) == 0
        server.process = None
