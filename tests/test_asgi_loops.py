"""An app's event loop does all that a loop does while it waits for requests in a way of its own
(core/asgi_loop.c, loops.py)."""

from __future__ import annotations

import pytest

from harness import proc
from harness.caddyfile import asgi
from harness.health import Slack
from harness.plugin import Serve
from harness.server import Server

DEEDS = ["timers", "echo", "process", "threads", "reader", "busy"]


@pytest.fixture(scope="module", params=["asyncio", "uvloop"])
def server(serve_module: Serve, request: pytest.FixtureRequest) -> Server:
    site = asgi("loop_life:app", "lifespan off", f"loop {request.param}")
    # The default executor's threads stay, and so does the epoll of a loop that had files.
    return serve_module(site, probe="/", slack=Slack(threads=30, python_threads=30, descriptors=8))


@pytest.mark.smoke
@pytest.mark.parametrize("deed", DEEDS)
def test_the_loop_does_what_loops_do(server: Server, deed: str) -> None:
    for _ in range(3):
        assert server.get(f"/{deed}").text == "ok"


@pytest.mark.smoke
def test_deeds_and_requests_at_once(server: Server) -> None:
    clients = [(deed, server.connect(timeout=30)) for deed in DEEDS * 3]
    for deed, client in clients:
        client.request("GET", f"/{deed}")
    for _ in range(200):
        assert server.get("/").text == "ok"
    for _, client in clients:
        assert client.response().text == "ok"
        client.close()


@pytest.mark.in_process("a worker has its own signals")
def test_signal_handlers_are_not_set(serve: Serve) -> None:
    server = serve(asgi("loop_life:app", "lifespan off", "loop asyncio"), probe="/")
    assert server.get("/signals").text == "ok"


@pytest.mark.in_process("it looks into Caddy's process")
def test_loops_without_files_have_no_descriptor(serve: Serve) -> None:
    many = 40
    slack = Slack(threads=many + 8, python_threads=many)
    server = serve(asgi("loop_life:app", "lifespan off", "loop asyncio"), probe="/", slack=slack)
    before = len(proc.descriptors(server.pid))
    blocks = [
        asgi("loop_life:app", "loop asyncio", f"env_var N {number}", matcher=f"/{number}/*")
        for number in range(many)
    ]
    assert server.load("\n".join(blocks)).status == 200
    for number in range(many):
        assert server.get(f"/{number}/").text == "ok"
    assert len(proc.descriptors(server.pid)) < before + many / 2
