"""Process pools of an app end with it: when it is loaded anew, and with the server."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness import http1, proc
from harness.caddyfile import wsgi
from harness.health import Slack
from harness.plugin import Serve
from harness.server import Server
from harness.waiting import wait_for

KINDS = ["executor", "pool", "joblib_workers"]


def serve_pool(serve: Serve, kind: str) -> Server:
    slack = Slack(children=5, descriptors=24, python_threads=6, threads=8)
    return serve(wsgi(f"{kind}:app", folder="pools"), slack=slack)


def workers(server: Server) -> set[int]:
    return {int(pid) for pid in server.get("/").text.split()}


def is_there(pid: int) -> bool:
    """Whether a process runs; one that nobody has waited for does not."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state != "Z"


@pytest.mark.smoke
@pytest.mark.conformance("T18", "T10")
@pytest.mark.parametrize("kind", KINDS)
def test_workers_of_replaced_code_end(serve: Serve, kind: str) -> None:
    server = serve_pool(serve, kind)
    for _ in range(3):
        old = workers(server)
        assert server.force(wsgi(f"{kind}:app", folder="pools")).status == 200
        assert old.isdisjoint(workers(server))
        wait_for(lambda old=old: not any(map(is_there, old)), "the old workers to end")  # type: ignore[misc]


@pytest.mark.smoke
@pytest.mark.conformance("T18", "T11")
@pytest.mark.parametrize("kind", KINDS)
def test_workers_end_with_the_server(serve: Serve, kind: str) -> None:
    server = serve_pool(serve, kind)
    last = workers(server) | set(proc.children(server.pid))
    server.stop()
    assert not any(map(is_there, last))


@pytest.mark.smoke
def test_joblibs_workers_are_each_applications_own(serve: Serve) -> None:
    slack = Slack(children=6, descriptors=40, python_threads=12, threads=16)
    blocks = [wsgi("joblib_workers:app", f"env_var NAME {n}", folder="pools") for n in (1, 2)]
    server = serve(*blocks, slack=slack)
    for _ in range(2):
        for name, port in zip("12", server.ports, strict=True):
            assert http1.request(port, "GET", "/?who").text == name
