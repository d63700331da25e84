"""The lifespan of an ASGI app: startup before the first request, shutdown at the end."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.caddyfile import asgi
from harness.plugin import Serve
from harness.waiting import wait_for


@pytest.fixture
def notes(tmp_path: Path) -> Path:
    path = tmp_path / "notes"
    path.touch()
    return path


def app(name: str, notes: Path, mode: str = "auto") -> str:
    options = (f"lifespan {mode}", f"env_var LIFESPAN_NOTES {notes}")
    return asgi(f"lifespans:{name}", *options, folder="loading")


def lines(notes: Path) -> list[str]:
    return notes.read_text().splitlines()


@pytest.mark.smoke
@pytest.mark.conformance("L01", "L05", "A09")
@pytest.mark.parametrize("mode", ["auto", "on"])
def test_startup_comes_first_and_shutdown_last_and_state_is_shared(
    serve: Serve, notes: Path, mode: str
) -> None:
    server = serve(app("supporting", notes, mode))
    assert lines(notes) == ["startup"]
    assert server.get("/").text == "'hello'"
    server.stop()
    assert lines(notes) == ["startup", "request", "shutdown"]


@pytest.mark.conformance("L01")
def test_lifespan_off_starts_nothing(serve: Serve, notes: Path) -> None:
    server = serve(app("supporting", notes, "off"))
    assert server.get("/").text == "None"
    server.stop()
    assert lines(notes) == ["request"]


@pytest.mark.smoke
@pytest.mark.conformance("L03")
@pytest.mark.parametrize("name", ["ignorant", "silent"])
def test_auto_serves_an_app_without_lifespan(serve: Serve, notes: Path, name: str) -> None:
    server = serve(app(name, notes))
    assert server.get("/").status == 200


@pytest.mark.conformance("L03")
@pytest.mark.parametrize(("name", "why"), [("ignorant", "planted: unknown scope"), ("silent", "")])
def test_on_demands_a_lifespan(unstarted: Serve, notes: Path, name: str, why: str) -> None:
    said = unstarted(app(name, notes, "on")).run_in_vain()
    assert "lifespan" in said
    assert why in said


@pytest.mark.smoke
@pytest.mark.conformance("L02")
@pytest.mark.parametrize("mode", ["auto", "on"])
def test_a_failed_startup_fails_the_load_with_its_message(
    unstarted: Serve, notes: Path, mode: str
) -> None:
    assert "planted: no database" in unstarted(app("failing", notes, mode)).run_in_vain()


@pytest.mark.conformance("L02", "L06")
def test_a_failed_startup_leaves_the_running_app_alone(serve: Serve, notes: Path) -> None:
    server = serve(app("supporting", notes))
    server.allow_log(".")
    answer = server.load(app("failing", notes))
    assert answer.status == 400
    assert "planted: no database" in answer.text
    assert server.get("/").text == "'hello'"
    assert lines(notes) == ["startup", "request"]


@pytest.mark.conformance("L06")
def test_a_new_app_starts_before_the_old_one_shuts_down(serve: Serve, notes: Path) -> None:
    server = serve(app("supporting", notes, "auto"))
    assert server.load(app("supporting", notes, "on")).status == 200
    wait_for(lambda: len(lines(notes)) == 3, "the shutdown of the old app")
    assert lines(notes) == ["startup", "startup", "shutdown"]
    assert server.get("/").text == "'hello'"
    server.stop()
    assert lines(notes)[3:] == ["request", "shutdown"]


@pytest.mark.conformance("L05")
def test_a_failed_shutdown_is_logged_and_does_not_stop_the_stop(serve: Serve, notes: Path) -> None:
    server = serve(app("failing_at_the_end", notes))
    server.expect_log("planted: could not close", level=None, times=1)
    server.stop()
    assert lines(notes) == ["shutdown"]


@pytest.mark.conformance("L05")
@pytest.mark.parametrize(
    ("name", "error"),
    [("failing_in_between", "the background job ended"), ("failing_after_the_end", "after all")],
)
def test_an_exception_that_nobody_waits_for_is_logged(
    serve: Serve, notes: Path, name: str, error: str
) -> None:
    server = serve(app(name, notes))
    server.expect_app_log(f"RuntimeError: planted: {error}")
    assert server.get("/").status == 200
    server.stop()


@pytest.mark.conformance("L08")
def test_lifespan_and_requests_share_a_thread(serve: Serve, notes: Path) -> None:
    server = serve(app("on_one_thread", notes))
    for _ in range(3):
        assert server.get("/").text == "'hello'"
