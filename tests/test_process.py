"""The process as a whole: signals, stopping, reloading, and what an app can't take from it."""

from __future__ import annotations

import signal

import pytest

from harness import http1
from harness.board import Board
from harness.caddyfile import BRIEF_GRACE, asgi, wsgi
from harness.health import ONE_THREAD
from harness.plugin import Serve
from harness.server import Server
from harness.waiting import wait_for


@pytest.fixture(scope="module")
def server(serve_module: Serve) -> Server:
    return serve_module(wsgi("guest:app"), probe="/hello")


@pytest.mark.smoke
@pytest.mark.parametrize("target", ["/writes_to_a_closed_pipe", "/writes_to_a_closed_socket"])
def test_sigpipe_does_not_end_the_process(server: Server, target: str) -> None:
    assert server.get(target).text == "BrokenPipeError"


@pytest.mark.conformance("S35")
def test_no_app_runs_on_pythons_main_thread(server: Server) -> None:
    assert server.get("/is_on_the_main_thread").text == "False"


@pytest.mark.smoke
@pytest.mark.conformance("S35", "T14")
def test_an_app_cannot_take_sigterm_from_caddy(serve: Serve) -> None:
    server = serve(wsgi("guest:app"))
    server.health.expect("signal", "warn", None, None, optional=True)
    assert server.get("/takes_sigterm").status == 200
    server.stop()  # By SIGTERM, and in time.


@pytest.mark.smoke
@pytest.mark.conformance("T11")
def test_a_request_that_runs_is_finished_before_the_end(serve: Serve, board: Board) -> None:
    server = serve(wsgi("guest:app"))
    with server.connect() as connection:
        connection.request("GET", "/waits", board.headers)
        board.wait("running")
        assert server.process is not None
        server.process.send_signal(signal.SIGTERM)
        wait_for(lambda: server.log.find("shutting down"), "the shutdown to begin")
        board.post("go")
        response = connection.response()
    assert (response.status, response.text, response.broken) == (200, "done", None)
    server.stop()


@pytest.mark.conformance("T11")
@pytest.mark.parametrize("target", ["/leaves_a_daemon_thread", "/leaves_a_thread"])
def test_a_thread_of_an_app_does_not_hold_up_the_end(serve: Serve, target: str) -> None:
    server = serve(wsgi("guest:app"), slack=ONE_THREAD)
    assert server.get(target).text == "left"
    server.stop()


@pytest.mark.conformance("T11")
def test_a_stuck_request_does_not_hold_up_the_end_for_ever(serve: Serve, board: Board) -> None:
    server = serve(wsgi("guest:app"), options=[BRIEF_GRACE])
    server.allow_log(".")  # Whoever gives up waiting may say so.
    with server.connect() as connection:
        connection.request("GET", "/sleeps_for_an_hour", board.headers)
        board.wait("running")
        server.stop()


@pytest.mark.conformance("T11")
def test_atexit_functions_run_at_the_end(serve: Serve, board: Board) -> None:
    server = serve(wsgi("guest:app"))
    assert server.get("/registers_atexit", board.headers).text == "registered"
    server.stop()
    assert board.lines("atexit") == [""]


@pytest.mark.conformance("T11")
def test_the_admin_api_stops_it_too(serve: Serve) -> None:
    server = serve(wsgi("guest:app"))
    assert server.get("/hello").status == 200
    assert http1.request(server.admin, "POST", "/stop").status == 200
    assert server.process is not None
    assert server.process.wait(10) == 0
    server.process = None


@pytest.mark.smoke
@pytest.mark.conformance("T10", "T11")
def test_reloads_leave_nothing_behind(serve: Serve) -> None:
    server = serve(reloaded(0))
    for count in range(1, 15):
        answer = server.load(reloaded(count))
        assert answer.status == 200, answer.text
        assert server.get("/wsgi/hello").text == "hello"
        assert server.get("/asgi").status == 200
    # The check after the test finds what was kept.


def reloaded(count: int) -> str:
    """A site whose apps differ from those of another count."""
    change = f"env_var COUNT {count}"
    return (
        f"handle_path /wsgi/* {{\n{wsgi('guest:app', change)}\n}}\n"
        f"handle {{\n{asgi('asgi_scope:show_scope', change)}\n}}"
    )


@pytest.mark.conformance("T11")
def test_a_reload_does_not_disturb_requests_that_run(serve: Serve, board: Board) -> None:
    server = serve(wsgi("guest:app", "env_var COUNT 1"))
    with server.connect() as connection:
        connection.request("GET", "/waits", board.headers)
        board.wait("running")
        assert server.load(wsgi("guest:app", "env_var COUNT 2")).status == 200
        assert server.get("/hello").text == "hello"
        board.post("go")
        response = connection.response()
    assert (response.status, response.text, response.broken) == (200, "done", None)
