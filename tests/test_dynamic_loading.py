"""How apps that requests name are loaded: once, without holding up others, and what if it fails."""

from __future__ import annotations

import shutil
import time
from functools import partial
from pathlib import Path

import pytest

from harness.board import Board
from harness.dynamic import INTERFACES, Tenants, ask_tenant, host, send, text
from harness.health import LATE_APPS
from harness.plugin import Serve
from harness.server import Server
from harness.waiting import wait_for

FAILED = "could not be loaded"
# How long a failure counts, and what is surely within it.
REMEMBERED, SOON = 5.0, 4.0


@pytest.fixture(scope="module")
def server(serve_module: Serve) -> Server:
    return serve_module("", slack=LATE_APPS)


@pytest.fixture(params=INTERFACES)
def tenants(request: pytest.FixtureRequest, tmp_path: Path, board: Board) -> Tenants:
    return Tenants(tmp_path / "sites", board, request.param, "one", "two")


@pytest.mark.smoke
@pytest.mark.conformance("T03")
def test_50_first_requests_import_once(server: Server, tenants: Tenants) -> None:
    server.configure(tenants.block())
    tenants.stop("import", "one")
    waiting = [send(server, host("one"), "/id") for _ in range(50)]
    tenants.board.wait("imported")
    tenants.go("import", "one")
    answers = [connection.response() for connection in waiting]
    for connection in waiting:
        connection.close()
    assert {answer.status for answer in answers} == {200}
    assert len({answer.text for answer in answers}) == 1
    assert tenants.noted("imported") == 1


def test_a_missing_venv_of_all_tenants_is_refused(server: Server, tenants: Tenants) -> None:
    server.expect_log("not a virtual environment")
    answer = server.load(tenants.block("venv /nowhere"))
    assert answer.status == 400
    assert "venv /nowhere: not a virtual environment" in answer.text


@pytest.mark.conformance("T03")
def test_a_load_goes_on_when_those_who_wait_leave(server: Server, tenants: Tenants) -> None:
    server.configure(tenants.block())
    tenants.stop("import", "one")
    waiting = [send(server, host("one")) for _ in range(3)]
    tenants.board.wait("imported")
    for connection in waiting:
        connection.reset()
    tenants.go("import", "one")
    assert text(server, "one") == "one"
    assert tenants.noted("imported") == 1


@pytest.mark.conformance("T03", "E33")
def test_a_slow_import_holds_up_nobody_else(server: Server, tenants: Tenants) -> None:
    server.configure(tenants.block())
    tenants.stop("import", "one")
    with send(server, host("one")) as waiting:
        tenants.board.wait("imported")
        taken = []
        for _ in range(200):
            begin = time.monotonic()
            assert text(server, "two") == "two"
            taken.append(time.monotonic() - begin)
        assert sorted(taken)[-3] < 0.25, "all but the very first"
        tenants.go("import", "one")
        assert waiting.response().text == "one"


PROBLEMS = {
    "import error": ("import no_such_package", "No module named 'no_such_package'"),
    "exception": ("raise ValueError('planted: at import')", "ValueError: planted: at import"),
    "system exit": ("import sys; sys.exit(3)", "SystemExit"),
    "keyboard interrupt": ("raise KeyboardInterrupt", "KeyboardInterrupt"),
    "no such attribute": ("application = None", "there is no 'app'"),
    "not callable": ("app = 5", "callable"),
}


@pytest.mark.smoke
@pytest.mark.conformance("T03", "T07")
@pytest.mark.parametrize("problem", PROBLEMS)
def test_a_failed_load_is_a_500_and_logged_once(
    server: Server, tenants: Tenants, problem: str
) -> None:
    code, why = PROBLEMS[problem]
    tenants.add_broken("broken", code)
    routes = 'handle_errors {\nrespond "{err.status_code}: {err.message}"\n}'
    server.configure(f"{tenants.block()}\n{routes}")
    server.expect_app_log(why, times=1)
    begin = time.monotonic()
    for _ in range(10):
        answer = ask_tenant(server, "broken")
        assert answer.status == 500
        assert "Traceback" not in answer.text
        assert why not in answer.text
        assert len(answer.text) < 400
    assert time.monotonic() - begin < SOON
    assert tenants.noted("imported", "broken") == 1
    assert text(server, "one") == "one"


@pytest.mark.conformance("T03")
def test_the_log_has_the_traceback(server: Server, tenants: Tenants) -> None:
    tenants.add_broken("broken", "def deep():\n    raise ValueError('planted: deep')\ndeep()")
    server.configure(tenants.block())
    found = server.expect_app_log("planted: deep")
    server.expect_log(FAILED, times=1)
    assert ask_tenant(server, "broken").status == 500
    server.check()
    (record,) = found.records
    assert "Traceback (most recent call last)" in record.text
    assert f"{tenants.root}/broken/main.py" in record.text
    assert "in deep" in record.text


def test_records_name_the_tenant(server: Server, tenants: Tenants) -> None:
    good = (tenants.root / "one" / "main.py").read_text()
    tenants.add_broken("talker", f"print('said by a tenant')\n{good}")
    start = len(server.log.read())
    server.configure(tenants.block())
    assert text(server, "talker") == "talker"
    server.configure(f"respond /other other\n{tenants.block()}")  # another logger
    assert text(server, "talker") == "talker"
    server.configure("")
    for message in ("said by a tenant", "python app loaded", "python app unloaded"):
        wait_for(partial(server.log.find, f"^{message}$", start, tenant="talker"), message)


@pytest.mark.conformance("T03")
def test_those_who_wait_for_a_failing_load_get_500(server: Server, tenants: Tenants) -> None:
    tenants.add_broken("broken", "raise ValueError('planted: all wait')")
    server.configure(tenants.block())
    server.expect_app_log("planted: all wait", times=1)
    server.expect_log(FAILED, times=20)
    tenants.stop("import", "broken")
    waiting = [send(server, host("broken")) for _ in range(20)]
    tenants.board.wait("imported")
    tenants.go("import", "broken")
    assert {connection.response().status for connection in waiting} == {500}
    for connection in waiting:
        connection.close()
    assert tenants.noted("imported") == 1


@pytest.mark.conformance("T03")
def test_a_mended_module_is_loaded_at_once(server: Server, tenants: Tenants) -> None:
    tenants.add_broken("broken", "raise ValueError('planted: to be mended')")
    server.configure(tenants.block())
    server.expect_app_log("to be mended")
    server.expect_log(FAILED, times=1)
    begin = time.monotonic()
    assert ask_tenant(server, "broken").status == 500
    good = (tenants.root / "one" / "main.py").read_text()
    (tenants.root / "broken" / "main.py").write_text(good)
    assert text(server, "broken") == "broken"
    assert time.monotonic() - begin < SOON


@pytest.mark.conformance("T03")
def test_a_failure_is_forgotten_after_a_while(server: Server, tenants: Tenants) -> None:
    """Also if what was wrong is not in the module's file."""
    good = (tenants.root / "one" / "main.py").read_text()
    tenants.add_broken("broken", f"import mended_later\n{good}")
    server.configure(tenants.block())
    server.expect_app_log("No module named 'mended_later'")
    server.expect_log(FAILED, times=None)
    begin = time.monotonic()
    assert ask_tenant(server, "broken").status == 500
    (tenants.root / "broken" / "mended_later.py").touch()
    wait_for(lambda: ask_tenant(server, "broken").status == 200, "it to be loaded again", 12)
    assert SOON < time.monotonic() - begin < REMEMBERED + 4


@pytest.mark.conformance("T03")
def test_a_folder_that_is_made_later_is_found_at_once(server: Server, tenants: Tenants) -> None:
    server.configure(tenants.block())
    assert ask_tenant(server, "late").status == 404
    tenants.add("late")
    assert text(server, "late") == "late"


@pytest.mark.conformance("T07")
def test_start_timeout_ends_the_wait_for_a_load(server: Server, tenants: Tenants) -> None:
    server.configure(tenants.block("start_timeout 2s"))
    server.expect_app_log("start_timeout|timed out|timeout")
    server.expect_log(FAILED, times=1)
    tenants.stop("import", "one")
    begin = time.monotonic()
    assert ask_tenant(server, "one").status == 500
    assert time.monotonic() - begin > 1.9
    assert text(server, "two") == "two"
    # The thread that imports can't be stopped from outside.
    tenants.go("import", "one")


@pytest.mark.conformance("L02")
def test_a_failed_startup_is_a_failed_load(server: Server, tmp_path: Path, board: Board) -> None:
    tenants = Tenants(tmp_path / "sites", board, "asgi")
    tenants.add("one")
    tenants.add_broken(
        "broken",
        "async def app(scope, receive, send):\n"
        "    await receive()\n"
        "    await send({'type': 'lifespan.startup.failed', 'message': 'planted: no database'})",
    )
    server.configure(tenants.block())
    server.expect_app_log("planted: no database", times=None)
    server.expect_log(FAILED, times=2)
    assert [ask_tenant(server, "broken").status for _ in range(2)] == [500, 500]
    assert tenants.noted("imported") == 1
    assert text(server, "one") == "one"


def test_a_stop_does_not_wait_for_a_load(serve: Serve, tenants: Tenants) -> None:
    server = serve(tenants.block(), slack=LATE_APPS)
    server.allow_log(".")
    tenants.stop("import", "one")
    with send(server, host("one")):
        tenants.board.wait("imported")
        server.stop()


@pytest.mark.conformance("T08")
def test_a_removed_tenant_is_unloaded_by_autoreload(server: Server, tenants: Tenants) -> None:
    tenants.add("guest")
    server.configure(tenants.block("autoreload"))
    assert text(server, "guest") == "guest"
    server.allow_log("No such file|not found|could not be loaded|failed")
    shutil.rmtree(tenants.root / "guest")
    wait_for(lambda: ask_tenant(server, "guest").status == 404, "the end of the tenant", 30)
    assert server.log.find("^evicting python app$", reason="removed", tenant="guest")
    assert text(server, "one") == "one"
    tenants.add("guest")
    assert text(server, "guest") == "guest"
