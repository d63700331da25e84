"""Process pools of an app end with it: when it is loaded anew, and with the server."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.caddyfile import wsgi
from harness.health import Slack
from harness.plugin import Serve
from harness.server import Server
from harness.waiting import wait_for

KINDS = ["executor", "pool"]


def serve_pool(serve: Serve, kind: str) -> Server:
    slack = Slack(children=3, descriptors=12, python_threads=4)
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
    last = workers(server)
    server.stop()
    assert not any(map(is_there, last))
