"""How many apps a block may hold: max_apps, idle_timeout, and what comes back from evicted ones."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from pathlib import Path

import pytest

from harness import proc
from harness.board import Board
from harness.dynamic import INTERFACES, Tenants, ask_tenant, host, send, text
from harness.health import LATE_APPS, Slack
from harness.plugin import Serve
from harness.server import Server
from harness.waiting import wait_for
from harness.websocket import WebSocket

BUSY = "all python apps that max_apps allows are busy"
MANY = [f"app{number}" for number in range(20)]


@pytest.fixture(scope="module")
def server(serve_module: Serve) -> Server:
    return serve_module("", slack=LATE_APPS)


@pytest.fixture(params=INTERFACES)
def tenants(request: pytest.FixtureRequest, tmp_path: Path, board: Board) -> Tenants:
    return Tenants(tmp_path / "sites", board, request.param, "one", "two", "three")


@pytest.fixture
def asgi(tmp_path: Path, board: Board) -> Tenants:
    """Tenants that tell when they are unloaded."""
    return Tenants(tmp_path / "sites", board, "asgi", "one", "two", "three")


def refused(server: Server, name: str) -> None:
    server.expect_log(BUSY, times=1)
    answer = ask_tenant(server, name)
    assert answer.status == 503
    assert int(answer.get("retry-after") or 0) >= 1
    server.check()


# max_apps


@pytest.mark.smoke
@pytest.mark.conformance("T05")
def test_the_app_that_was_not_used_for_longest_goes(server: Server, tenants: Tenants) -> None:
    server.configure(tenants.block("max_apps 2"))
    ids = {name: text(server, name, "/id") for name in ("one", "two")}
    assert text(server, "one", "/id") == ids["one"]
    assert text(server, "three") == "three"
    assert text(server, "one", "/id") == ids["one"]
    assert text(server, "two", "/id") != ids["two"]


@pytest.mark.conformance("T05", "L05")
def test_an_evicted_app_has_its_shutdown(server: Server, asgi: Tenants) -> None:
    server.configure(asgi.block("max_apps 1"))
    take_turns(server, ["one", "two", "three"])
    assert sorted(asgi.board.wait("shutdown", 2)) == ["one", "two"]


@pytest.mark.smoke
@pytest.mark.conformance("T05")
def test_busy_apps_stay_and_others_get_503(server: Server, tenants: Tenants) -> None:
    server.configure(tenants.block("max_apps 1"))
    tenants.stop("request", "one")
    with send(server, host("one"), "/hold") as held:
        tenants.board.wait("held")
        refused(server, "two")
        assert text(server, "one") == "one", "it still takes requests"
        tenants.go("request", "one")
        assert held.response().text == "one"
    take_turns(server, ["two"])
    assert tenants.noted("imported", "one") == 1


def take_turns(server: Server, names: Sequence[str]) -> None:
    """Each app answers, in the place of the one before, which may be busy for a moment after its
    answer."""
    server.allow_log(BUSY)
    for name in names:
        wait_for(lambda name=name: ask_tenant(server, name).text == name, f"room for {name}")


@pytest.mark.conformance("T05")
def test_503_goes_through_caddys_error_routes(server: Server, tenants: Tenants) -> None:
    routes = 'handle_errors {\nrespond "routed {err.status_code}"\n}'
    server.configure(f"{tenants.block('max_apps 1')}\n{routes}")
    tenants.stop("request", "one")
    with send(server, host("one"), "/hold") as held:
        tenants.board.wait("held")
        answer = ask_tenant(server, "two")
        assert (answer.text, answer.get("retry-after")) == ("routed 503", "1")
        tenants.go("request", "one")
        held.response()


@pytest.mark.conformance("T05")
def test_an_app_that_is_being_loaded_is_busy(server: Server, tenants: Tenants) -> None:
    server.configure(tenants.block("max_apps 1"))
    tenants.stop("import", "one")
    with send(server, host("one")) as waiting:
        tenants.board.wait("imported")
        refused(server, "two")
        tenants.go("import", "one")
        assert waiting.response().text == "one"


@pytest.mark.conformance("T05")
def test_an_app_with_an_open_websocket_is_busy(server: Server, asgi: Tenants) -> None:
    server.configure(asgi.block("max_apps 1", working_dir="{http.request.uri.path.0}"))
    with WebSocket(server, "/one") as websocket:
        assert websocket.refusal is None
        server.expect_log(BUSY, times=1)
        assert server.get("/two").status == 503
        server.check()
    server.allow_log(BUSY)
    wait_for(lambda: server.get("/two").status == 200, "room for the other")


@pytest.mark.conformance("T05")
def test_failed_apps_take_no_room(server: Server, tenants: Tenants) -> None:
    tenants.add_broken("broken", "raise ValueError('planted: no room')")
    server.configure(tenants.block("max_apps 1"))
    server.expect_app_log("planted: no room")
    server.expect_log("could not be loaded", times=2)
    assert ask_tenant(server, "broken").status == 500
    before = text(server, "one", "/id")
    assert ask_tenant(server, "broken").status == 500
    assert text(server, "one", "/id") == before


@pytest.mark.conformance("T05")
def test_names_of_no_app_evict_nobody(server: Server, tenants: Tenants) -> None:
    server.configure(tenants.block("max_apps 1"))
    before = text(server, "one", "/id")
    assert {ask_tenant(server, f"none{number}").status for number in range(50)} == {404}
    assert text(server, "one", "/id") == before


@pytest.mark.conformance("T05")
def test_spellings_of_a_folder_take_no_room(server: Server, tenants: Tenants) -> None:
    block = tenants.block("max_apps 1", working_dir="{http.request.uri.query.q}")
    server.configure(block)
    before = server.get("/id?q=one").text
    for spelling in ("one/", "one//", "./one", "one/.", "//one"):
        assert server.get(f"/id?q={spelling}").status == 400
    assert server.get("/id?q=one").text == before
    assert tenants.noted("imported") == 1


@pytest.mark.conformance("T05")
def test_traffic_on_more_apps_than_fit(server: Server, tenants: Tenants) -> None:
    """Every answer is the right app's, or says that there is no room."""
    tenants.add("four")
    server.configure(tenants.block("max_apps 2"))
    server.allow_log(BUSY)
    wrong: list[str] = []
    served: list[str] = []

    def ask_often(name: str) -> None:
        for _ in range(10_000):
            if served.count(name) >= 30:
                return
            answer = ask_tenant(server, name)
            if answer.status == 200 and answer.text == name:
                served.append(name)
            elif answer.status != 503:
                wrong.append(f"{name}: {answer}")

    names = ["one", "two", "three", "four"] * 2
    threads = [threading.Thread(target=ask_often, args=[name]) for name in names]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert wrong == []
    assert set(served) == {"one", "two", "three", "four"}


@pytest.mark.conformance("T05", "T10")
def test_memory_stays_flat_over_many_evictions(serve: Serve, tenants: Tenants) -> None:
    server = serve(tenants.block("max_apps 1"), slack=LATE_APPS)
    take_turns(server, ["one", "two"] * 10)
    before = proc.rss(server.pid)
    take_turns(server, ["one", "two"] * 30)
    assert tenants.noted("imported") == 80
    assert proc.rss(server.pid) - before < 6 << 20


# idle_timeout


@pytest.mark.smoke
@pytest.mark.conformance("T05", "L05")
def test_idle_apps_go_and_come_back(server: Server, asgi: Tenants) -> None:
    server.configure(asgi.block("idle_timeout 300ms"))
    before = text(server, "one", "/id")
    asgi.board.wait("shutdown")
    assert text(server, "one", "/id") != before
    assert asgi.noted("imported") == 2


@pytest.mark.conformance("T05")
def test_busy_apps_are_not_idle(server: Server, asgi: Tenants) -> None:
    server.configure(asgi.block("idle_timeout 200ms"))
    asgi.stop("request", "one")
    with send(server, host("one"), "/hold") as held:
        asgi.board.wait("held")
        for times in range(1, 4):
            assert text(server, "two") == "two"
            asgi.board.wait("shutdown", times)  # Others went meanwhile, again and again.
        assert set(asgi.board.lines("shutdown")) == {"two"}
        asgi.go("request", "one")
        assert held.response().text == "one"
    wait_for(lambda: asgi.noted("shutdown", "one") == 1, "the end of the idle app")


@pytest.mark.conformance("T05")
def test_a_websocket_keeps_its_app(server: Server, asgi: Tenants) -> None:
    site = asgi.block("idle_timeout 200ms", working_dir="{http.request.uri.path.0}")
    server.configure(site)
    with WebSocket(server, "/one") as websocket:
        assert websocket.refusal is None
        for times in range(1, 4):
            server.get("/two")
            asgi.board.wait("shutdown", times)
        assert set(asgi.board.lines("shutdown")) == {"two"}
    wait_for(lambda: asgi.noted("shutdown", "one") == 1, "the end of the idle app")


@pytest.mark.conformance("T05", "T10")
def test_threads_and_descriptors_of_idle_apps_come_back(serve: Serve, asgi: Tenants) -> None:
    asgi.add(*MANY)
    server = serve(asgi.block("idle_timeout 1s"), slack=Slack(threads=14, descriptors=12))
    text(server, "one")
    asgi.board.wait("shutdown")
    memory: list[int] = []
    for rounds in range(1, 4):
        for name in MANY:
            assert text(server, name) == name
        asgi.board.wait("shutdown", 1 + rounds * len(MANY), 20)
        memory.append(proc.rss(server.pid))
    assert memory[-1] - memory[0] < 6 << 20
    # The check after the test sees threads and descriptors that stay.


def test_a_removed_block_takes_its_timer_along(serve: Serve, asgi: Tenants) -> None:
    server = serve(asgi.block("idle_timeout 200ms"))
    assert text(server, "one") == "one"
    assert server.load("respond gone").status == 200
    asgi.board.wait("shutdown")
    assert asgi.noted("shutdown") == 1


# Values


@pytest.mark.parametrize(
    "option", ["max_apps 0", "max_apps -1", "max_apps many", "idle_timeout -1s", "idle_timeout x"]
)
def test_wrong_values_are_refused(unstarted: Serve, asgi: Tenants, option: str) -> None:
    assert option.split()[0] in unstarted(asgi.block(option)).run_in_vain()


def test_limits_without_placeholders_warn(serve: Serve, asgi: Tenants) -> None:
    server = serve(asgi.block("max_apps 3", working_dir="one"), slack=LATE_APPS)
    assert server.log.find("max_apps and idle_timeout have no effect", level="warn")
