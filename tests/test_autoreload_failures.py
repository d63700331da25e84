"""Autoreload of code that can't be loaded (T07), and changes while code is being loaded."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.plugin import Serve
from harness.server import Server
from harness.source import (
    ASGI,
    EAGER,
    FAILED,
    WSGI,
    Source,
    await_reloads,
    await_version,
    put,
    reloads,
)
from harness.waiting import wait_for

pytestmark = pytest.mark.conformance("T07", "L07")

BROKEN = {
    "SyntaxError": "def app(:\n",
    "NameError": "app = no_such_name\n",
    "ModuleNotFoundError": "import no_such_module\n",
    "SystemExit": "import sys\nsys.exit('planted')\n",
    "KeyboardInterrupt": "raise KeyboardInterrupt\n",
    "there is no 'app'": "other = 1\n",
}
REFUSED = "could not be loaded"
HTML = [("Accept", "text/html,application/xhtml+xml;q=0.9")]


@pytest.fixture(scope="module")
def server(serve_module: Serve, tmp_path_factory: pytest.TempPathFactory) -> Server:
    # At the baseline it has an app with a loop.
    return serve_module(Source(tmp_path_factory.mktemp("site"), ASGI).block())


@pytest.fixture(params=[WSGI, ASGI], ids=["wsgi", "asgi"])
def source(request: pytest.FixtureRequest, tmp_path: Path) -> Source:
    return Source(tmp_path / "site", request.param)


def await_status(server: Server, status: int) -> None:
    wait_for(lambda: server.get("/").status == status, f"status {status}")


@pytest.mark.smoke
@pytest.mark.parametrize("why", BROKEN)
def test_requests_fail_until_it_is_fixed(server: Server, source: Source, why: str) -> None:
    server.configure(source.block())
    server.expect_log(REFUSED, logger="http.log.error")
    failure = server.expect_app_log(FAILED)
    put(source.main, BROKEN[why])
    await_status(server, 500)
    for headers in ([], HTML):
        answer = server.get("/", headers)
        assert (answer.status, answer.body) == (500, b"")
    source.write("fixed")
    await_version(server, "fixed")
    server.check()
    assert len(failure.records) == 1
    assert why in failure.records[0].text
    assert failure.records[0].fields["changed"] == "edited.py"


@pytest.mark.smoke
@pytest.mark.parametrize("why", BROKEN)
def test_the_last_good_code_goes_on_if_so_configured(
    server: Server, source: Source, why: str
) -> None:
    server.configure(source.block(autoreload=(*EAGER, "on_error keep")))
    before = len(reloads(server, FAILED))
    server.expect_app_log(FAILED)
    put(source.main, BROKEN[why])
    await_reloads(server, before + 1, FAILED)
    assert server.get("/").text == "1"
    source.write("fixed")
    await_version(server, "fixed")


def test_the_failure_is_one_for_the_error_routes(serve: Serve, tmp_path: Path) -> None:
    source = Source(tmp_path / "site")
    errors = 'handle_errors {\n    respond "sorry: {err.message}" 503\n}'
    server = serve(f"{source.block()}\n{errors}")
    server.expect_app_log(FAILED)
    server.allow_log(REFUSED)
    put(source.main, "raise ValueError('secret')\n")
    await_status(server, 503)
    answer = server.get("/", HTML)
    assert answer.text.startswith("sorry: ")
    assert "secret" not in answer.text


def test_debug_shows_the_traceback_to_browsers(serve: Serve, tmp_path: Path) -> None:
    source = Source(tmp_path / "site")
    server = serve(source.block("debug"))
    server.expect_app_log(FAILED)
    server.allow_log(REFUSED)
    put(source.main, "raise ValueError('<planted>')\n")
    await_status(server, 500)
    assert server.get("/").body == b""
    page = server.get("/", HTML)
    assert page.status == 500
    assert page.get("content-type") == "text/html; charset=utf-8"
    assert page.get("cache-control") == "no-store"
    assert "Traceback (most recent call last)" in page.text
    assert "ValueError: &lt;planted&gt;" in page.text
    assert f"{source.main}" in page.text


def test_the_old_code_shuts_down_when_the_new_fails(serve: Serve, tmp_path: Path) -> None:
    source = Source(tmp_path / "site")
    notes = tmp_path / "notes"
    farewell = f"import atexit\natexit.register(lambda: open({str(notes)!r}, 'w').close())\n"
    source.main.write_text(farewell + source.code("1"))
    server = serve(source.block())
    server.expect_app_log(FAILED)
    server.allow_log(REFUSED)
    put(source.main, "broken(")
    wait_for(notes.exists, "the end of the old code")
    assert server.get("/").status == 500


def test_a_failed_startup_is_a_failed_reload(serve: Serve, tmp_path: Path) -> None:
    source = Source(tmp_path / "site", ASGI)
    server = serve(source.block())
    server.allow_log(REFUSED)
    failure = server.expect_app_log(FAILED)
    put(
        source.main,
        "async def app(scope, receive, send):\n"
        "    await receive()\n"
        "    await send({'type': 'lifespan.startup.failed', 'message': 'planted: no database'})\n",
    )
    await_status(server, 500)
    server.check()
    assert "planted: no database" in failure.records[0].text


def waits_for(path: Path) -> str:
    return f"import os, time\nwhile not os.path.exists({str(path)!r}):\n    time.sleep(0.01)\n"


@pytest.mark.in_process("a start that is given up ends with its worker")
def test_an_import_that_never_ends_is_given_up(serve: Serve, source: Source) -> None:
    server = serve(source.block("start_timeout 3s"))
    server.expect_app_log(FAILED)
    server.allow_log(REFUSED)
    go = source.folder / "go"
    put(source.main, waits_for(go) + source.code("never"))
    await_status(server, 500)
    source.write("fixed")
    await_version(server, "fixed")
    assert "start_timeout" in reloads(server, FAILED)[0].text
    go.touch()  # The thread ends, and what it has loaded goes.
    wait_for(lambda: len(server.log.find("^python app unloaded$")) == 2, "the late one to go")
    assert server.get("/").text == "fixed"


@pytest.mark.smoke
@pytest.mark.conformance("T08")
def test_a_change_while_code_is_loaded_is_not_lost(serve: Serve, source: Source) -> None:
    server = serve(source.block())
    reached, go = source.folder / "reached", source.folder / "go"
    put(source.main, f"open({str(reached)!r}, 'w').close()\n" + waits_for(go) + source.code("slow"))
    wait_for(reached.exists, "the load to begin")
    assert server.get("/").text == "1"
    source.write("last")
    go.touch()
    await_version(server, "last")
    assert await_reloads(server, 2)


def test_a_change_while_the_server_starts_is_not_lost(serve: Serve, source: Source) -> None:
    once = (
        "import os\n"
        f"if not os.path.exists({str(source.folder / 'once')!r}):\n"
        f"    open({str(source.folder / 'once')!r}, 'w').close()\n"
        f"    open(__file__, 'w').write({source.code('changed')!r})\n"
    )
    source.main.write_text(once + source.code("1"))
    server = serve(source.block())
    await_version(server, "changed")
