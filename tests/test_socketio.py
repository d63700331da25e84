"""python-socketio with its real client: polling, upgrade, many clients, every disconnect seen."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest
import socketio

from harness.caddyfile import asgi
from harness.plugin import Serve
from harness.ports import HOST
from harness.server import Server
from harness.waiting import wait_for

CROWD = 256


@pytest.fixture(scope="module")
def server(serve_module: Serve) -> Server:
    return serve_module(asgi("socketio_main:app", folder="socketio_site"), probe="/hello")


def counts(server: Server) -> tuple[int, int]:
    connected, disconnected = server.get("/counts").text.split()
    return int(connected), int(disconnected)


def talk(server: Server, transports: list[str]) -> str:
    client = socketio.Client()
    client.connect(f"http://{HOST}:{server.port}", transports=transports, wait_timeout=30)
    try:
        assert client.call("echo", "hi", timeout=30) == {"you said": "hi"}
        return str(client.transport())
    finally:
        client.disconnect()
        client.wait()


@pytest.mark.parametrize(
    ("transports", "transport"),
    [(["polling"], "polling"), (["websocket"], "websocket"), (["polling", "websocket"], None)],
    ids=["polling", "websocket", "upgrade"],
)
def test_a_client_is_answered(server: Server, transports: list[str], transport: str | None) -> None:
    before = counts(server)
    assert talk(server, transports) == (transport or "websocket")
    wait_for(lambda: counts(server)[1] == before[1] + 1, "the disconnect")


def test_a_crowd_comes_and_every_disconnect_is_seen(server: Server) -> None:
    before = counts(server)
    with ThreadPoolExecutor(32) as pool:
        for transport in pool.map(lambda _: talk(server, ["websocket"]), range(CROWD)):
            assert transport == "websocket"
    expected = (before[0] + CROWD, before[1] + CROWD)
    wait_for(lambda: counts(server) == expected, "every disconnect", 30)
