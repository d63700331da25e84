"""Apps start processes: subprocess, multiprocessing by spawn and by fork, os.fork."""

from __future__ import annotations

import textwrap
from pathlib import Path

import pytest

from harness.caddyfile import python, wsgi
from harness.health import TRACKER, Slack
from harness.plugin import Serve
from harness.server import Server
from harness.waiting import wait_for


@pytest.fixture(scope="module")
def server(serve_module: Serve) -> Server:
    return serve_module(wsgi("forking:app"), probe="/hello", slack=TRACKER)


@pytest.mark.smoke
@pytest.mark.conformance("S35", "T18")
@pytest.mark.parametrize(
    ("target", "answer"),
    [
        ("/executable", "True"),
        ("/shell", "from the shell"),
        ("/terminate_subprocess", "-15"),
        ("/plain_fork", "7"),
    ],
)
def test_subprocesses_work(server: Server, target: str, answer: str) -> None:
    response = server.get(target, timeout=40)
    assert (response.status, response.text) == (200, answer)


@pytest.mark.smoke
@pytest.mark.conformance("T18")
def test_a_spawn_pool_works(server: Server) -> None:
    assert server.get("/spawn_pool", timeout=60).text == "[0, 1, 4, 9, 16]"


@pytest.mark.smoke
@pytest.mark.conformance("T18")
def test_fork_pools_work_and_end_again_and_again(server: Server) -> None:
    for _ in range(10):
        assert server.get("/fork_pool", timeout=60).text == "[0, 1, 4, 9, 16]"


@pytest.mark.conformance("T18")
def test_forked_processes_can_be_terminated_again_and_again(server: Server) -> None:
    for _ in range(10):
        assert server.get("/terminate_forked_process", timeout=60).text == "-15"


@pytest.mark.not_emulated("the wheel is tried there, whose Python obeys PYTHONHOME by itself")
@pytest.mark.smoke
def test_the_home_of_another_python_concerns_neither_server_nor_children(serve: Serve) -> None:
    server = serve(
        wsgi("forking:app"),
        env={"PYTHONHOME": "/home/of/another"},
        slack=TRACKER,
    )
    assert server.get("/executable").text == "True"
    assert server.get("/spawn_pool", timeout=60).text == "[0, 1, 4, 9, 16]"


@pytest.mark.in_process("what a worker's children say is logged")
@pytest.mark.smoke
@pytest.mark.conformance("T18")
def test_what_a_forked_process_says_is_said(serve: Serve) -> None:
    """On Caddy's own output, as what any other program writes: there is no Caddy in the child."""
    server = serve(wsgi("forking:app"), slack=TRACKER)
    said = ["printed by a child", "logged by a child", "without an end"]
    for line in said:
        server.expect_log(f"^{line}$", level="raw", times=1)
    server.expect_log("^LookupError: planted in a child$", level="raw", times=1)
    server.expect_log("^(Process |Traceback | )", level="raw")
    assert server.get("/child_that_speaks").text == "1"
    wait_for(lambda: server.log.find("^begun by the parent and ended$"), "the parent's line")


@pytest.mark.conformance("T18")
@pytest.mark.parametrize("interface", ["module_wsgi", "module_asgi"])
@pytest.mark.parametrize(("last", "status"), [("sys.exit(3)", 3), ("pass", 70), ("sys.exit()", 0)])
def test_a_child_that_is_forked_while_the_app_is_imported_ends(
    serve: Serve, tmp_path: Path, interface: str, last: str, status: int
) -> None:
    code = f"""
        import os, sys

        child = os.fork()
        if child == 0:
            {last}
        else:
            ended = str(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])).encode()

        if "{interface}" == "module_wsgi":
            def app(environ, start_response):
                start_response("200 OK", [])
                return [ended]
        else:
            async def app(scope, receive, send):
                assert scope["type"] == "http"
                await send({{"type": "http.response.start", "status": 200}})
                await send({{"type": "http.response.body", "body": ended}})
    """
    (tmp_path / "forks.py").write_text(textwrap.dedent(code))
    server = serve(python("forks:app", interface=interface, folder=tmp_path))
    assert server.get("/").text == str(status)


# A forked process that lives on


@pytest.mark.smoke
@pytest.mark.conformance("T18", "T11")
def test_a_forked_process_holds_no_listener_that_caddy_replaces(serve: Serve) -> None:
    """The kernel would go on giving it connections, which nobody accepts."""
    server = serve(wsgi("forking:app"), slack=Slack(children=2, descriptors=6))
    server.get("/leaves_a_forked_process")
    assert server.reload(wsgi("forking:app", "env_var CHANGED 1")).returncode == 0
    for _ in range(20):
        assert server.get("/hello").text == "hello"


@pytest.mark.conformance("T18")
def test_a_forked_process_holds_no_connection_that_caddy_closes(serve: Serve) -> None:
    server = serve(wsgi("forking:app"), slack=Slack(children=2, descriptors=6))
    with server.connect() as connection:
        connection.request("GET", "/leaves_a_forked_process", [("Connection", "close")])
        assert connection.response().status == 200
        assert connection.is_closed()


@pytest.mark.conformance("T18")
def test_a_forked_process_keeps_the_sockets_of_the_app(serve: Serve) -> None:
    server = serve(wsgi("forking:app"), slack=TRACKER)
    assert server.get("/speaks_through_a_socket").text == "from the child"
