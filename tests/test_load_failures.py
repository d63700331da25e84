"""Apps that can't be loaded: the error shows the traceback, and a running configuration stays."""

from __future__ import annotations

import json
import textwrap
from pathlib import Path

import pytest

from harness import proc
from harness.board import Board
from harness.caddyfile import python, wsgi
from harness.health import ONE_THREAD
from harness.plugin import Serve
from harness.server import Server

PROBLEMS = {
    "import error": ("import no_such_package", "No module named 'no_such_package'"),
    "syntax error": ("def app(:", "SyntaxError"),
    "exception": ("raise ValueError('planted: at import')", "ValueError: planted: at import"),
    "system exit": ("import sys; sys.exit(3)", "SystemExit"),
    "keyboard interrupt": ("raise KeyboardInterrupt", "KeyboardInterrupt"),
    "no such attribute": ("application = None", "app"),
    "not callable": ("app = 5", "callable"),
}


@pytest.fixture(params=PROBLEMS)
def broken_app(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[str, str]:
    """A site whose app can't be loaded, and what its error must say."""
    code, said = PROBLEMS[request.param]
    return module(tmp_path, code), said


def module(folder: Path, code: str, target: str = "cannot_load:app") -> str:
    (folder / "cannot_load.py").write_text(textwrap.dedent(code) + "\n")
    return python(target, folder=folder)


@pytest.mark.smoke
@pytest.mark.conformance("T16")
def test_run_and_validate_show_why_an_app_does_not_load(
    unstarted: Serve, broken_app: tuple[str, str]
) -> None:
    site, why = broken_app
    server = unstarted(site)
    assert why in server.run_in_vain()
    validated = server.validate()
    assert validated.returncode != 0
    assert why in validated.stderr


@pytest.mark.conformance("T16")
def test_the_traceback_leads_to_the_line(unstarted: Serve, tmp_path: Path) -> None:
    code = """
        def helper():
            raise ValueError("planted: deep")

        helper()
    """
    said = unstarted(module(tmp_path, code)).run_in_vain()
    assert "Traceback (most recent call last)" in said
    assert str(tmp_path / "cannot_load.py") in said
    assert "in helper" in said
    assert "cannot_load:app" in said
    assert "importlib" not in said


@pytest.mark.conformance("T16")
def test_the_traceback_of_a_syntax_error_has_frames_of_the_app_alone(
    unstarted: Serve, tmp_path: Path
) -> None:
    (tmp_path / "nested.py").write_text("def (\n")
    said = unstarted(module(tmp_path, "import nested\n")).run_in_vain()
    assert "nested.py" in said
    assert "SyntaxError" in said
    assert "<caddysnake_py" not in said


@pytest.mark.conformance("T16")
def test_a_syntax_error_in_the_module_itself_has_its_place(
    unstarted: Serve, tmp_path: Path
) -> None:
    said = unstarted(module(tmp_path, "def (\n")).run_in_vain()
    place = f'{tmp_path / "cannot_load.py"}\\", line 1'
    assert "Traceback (most recent call last):\\n  File" in said
    assert place in said
    assert "SyntaxError" in said


@pytest.mark.conformance("T16")
def test_an_exception_in_a_factory_is_shown(unstarted: Serve, tmp_path: Path) -> None:
    code = """
        def make():
            raise ValueError("planted: in the factory")
    """
    said = unstarted(module(tmp_path, code, "cannot_load:make()")).run_in_vain()
    assert "ValueError: planted: in the factory" in said
    assert "in make" in said


@pytest.mark.conformance("T16")
@pytest.mark.parametrize(
    ("site", "why"),
    [
        (wsgi("no_such_module:app"), "no_such_module"),
        (wsgi("wsgi_response:app", folder="no/such/folder"), "no/such/folder"),
        (python("wsgi_response:app", venv=Path("/no/such/venv")), "/no/such/venv"),
        (wsgi("wsgi_response:app", "env_file /no/such/file"), "/no/such/file"),
    ],
    ids=["module", "working_dir", "venv", "env_file"],
)
def test_what_is_not_there_is_named(unstarted: Serve, site: str, why: str) -> None:
    assert why in unstarted(site).run_in_vain()


def test_validate_accepts_what_run_would(unstarted: Serve) -> None:
    done = unstarted(wsgi("wsgi_response:app")).validate()
    assert done.returncode == 0, done.stderr


@pytest.fixture(scope="module")
def server(serve_module: Serve) -> Server:
    return serve_module(wsgi("wsgi_response:app"), probe="/hello")


@pytest.mark.smoke
@pytest.mark.conformance("T16", "T11")
def test_a_load_that_fails_leaves_the_running_configuration_untouched(
    server: Server, broken_app: tuple[str, str]
) -> None:
    site, why = broken_app
    server.allow_log(".")  # Caddy logs the refusal with the error in it.
    answer = server.load(site)
    assert answer.status == 400
    assert why in json.loads(answer.body)["error"]
    assert server.get("/hello").text == "hello"


@pytest.mark.smoke
@pytest.mark.conformance("T11")
def test_caddy_reload_says_why_and_succeeds_once_it_is_mended(
    server: Server, tmp_path: Path
) -> None:
    server.allow_log(".")
    done = server.reload(module(tmp_path, "raise ValueError('planted: reload')"))
    assert done.returncode != 0
    assert "ValueError: planted: reload" in done.stderr
    done = server.reload(wsgi("wsgi_response:app", "env_var CHANGED yes"))
    assert done.returncode == 0, done.stderr
    assert server.get("/hello").text == "hello"


@pytest.mark.conformance("T11")
def test_many_failed_loads_leave_nothing_behind(serve: Serve, tmp_path: Path) -> None:
    server = serve(wsgi("wsgi_response:app"), probe="/hello")
    server.allow_log(".")
    site = module(tmp_path, "raise ValueError('planted: again')")
    for _ in range(20):
        assert server.load(site).status == 400
    # The check after the test finds what was kept.


# Apps that never finish


@pytest.mark.conformance("T07")
def test_an_app_that_never_finishes_importing_is_given_up(unstarted: Serve, tmp_path: Path) -> None:
    site = never_ready(tmp_path, "never")
    said = unstarted(site).run_in_vain()
    assert "cannot_load:app" in said
    assert "start_timeout" in said or "timed out" in said or "timeout" in said


@pytest.mark.conformance("T07", "T11")
def test_a_running_server_outlives_an_app_that_never_finishes_importing(
    serve: Serve, tmp_path: Path, board: Board
) -> None:
    # The thread that imports can't be stopped from outside; it ends when the test lets it.
    server = serve(wsgi("wsgi_response:app"), probe="/hello", slack=ONE_THREAD)
    threads = len(proc.thread_names(server.pid))
    server.allow_log(".")
    answer = server.load(never_ready(tmp_path, board.folder / "go"))
    assert answer.status == 400
    assert server.get("/hello").text == "hello"
    assert len(proc.thread_names(server.pid)) <= threads + 10
    board.post("go")


def never_ready(folder: Path, until: str | Path) -> str:
    """A site whose app imports until a file is there."""
    code = f"""
        import os, time

        while not os.path.exists({str(until)!r}):
            time.sleep(0.01)

        def app(environ, start_response):
            start_response("200 OK", [])
            return [b"late"]
    """
    (folder / "cannot_load.py").write_text(textwrap.dedent(code))
    return python("cannot_load:app", "start_timeout 1s", folder=folder)
