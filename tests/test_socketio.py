"""python-socketio with its real client: polling, upgrade, many clients, every disconnect seen."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager

import pytest
import socketio

from harness.caddyfile import asgi
from harness.plugin import Serve
from harness.ports import HOST
from harness.server import Server
from harness.waiting import wait_for

CROWD = 256


@pytest.fixture(scope="module", params=["asyncio", "uvloop"])
def server(serve_module: Serve, request: pytest.FixtureRequest) -> Server:
    site = asgi("socketio_main:app", f"loop {request.param}", folder="socketio_site")
    return serve_module(site, probe="/hello")


def counts(server: Server) -> tuple[int, int]:
    connected, disconnected = server.get("/counts").text.split()
    return int(connected), int(disconnected)


def at_rest(server: Server) -> tuple[int, int]:
    """The counts when every client has been seen to leave, those of other tests included."""
    return wait_for(
        lambda: (found := counts(server))[0] == found[1] and found, "the disconnects of before"
    )


@contextmanager
def client(server: Server, transports: list[str]) -> Iterator[socketio.Client]:
    # What python-engineio says of a poll that comes while the client leaves.
    server.allow_log("'Session is disconnected'")
    found = socketio.Client(reconnection=False)
    found.connect(f"http://{HOST}:{server.port}", transports=transports, wait_timeout=30)
    try:
        yield found
    finally:
        found.disconnect()
        found.eio.wait()


def talk(server: Server, transports: list[str]) -> str:
    with client(server, transports) as one:
        assert one.call("echo", "hi", timeout=30) == {"you said": "hi"}
        return str(one.transport())


@pytest.mark.parametrize(
    ("transports", "transport"),
    [(["polling"], "polling"), (["websocket"], "websocket"), (["polling", "websocket"], None)],
    ids=["polling", "websocket", "upgrade"],
)
def test_a_client_is_answered(server: Server, transports: list[str], transport: str | None) -> None:
    before = at_rest(server)
    assert talk(server, transports) == (transport or "websocket")
    wait_for(lambda: counts(server)[1] == before[1] + 1, "the disconnect")


@pytest.mark.parametrize("transports", [["polling"], ["websocket"]], ids=["polling", "websocket"])
def test_text_bytes_and_large_data_come_back(server: Server, transports: list[str]) -> None:
    with client(server, transports) as one:
        for data in ("gr\u00fc\u00df", b"\x00\xff", {"list": [1, None], "bytes": b"x" * 500_000}):
            assert one.call("back", data, timeout=30) == data


def test_what_is_said_in_a_room_is_heard_by_all_in_it(server: Server) -> None:
    """Whatever transport each of them uses."""
    with ExitStack() as stack:
        ways = [["polling"], ["websocket"], ["polling", "websocket"], ["websocket"]]
        clients = [stack.enter_context(client(server, transports)) for transports in ways]
        heard: list[list[str]] = [[] for _ in clients]
        for one, texts in zip(clients, heard, strict=True):
            one.on("said", texts.append)
        for one in clients[:3]:
            one.emit("join", "library")
            one.call("echo", "joined", timeout=30)
        for text in ("first", "second"):
            clients[0].emit("say", ("library", text))
        wait_for(lambda: [len(texts) for texts in heard] == [2, 2, 2, 0], "the messages")
        assert heard[:3] == [["first", "second"]] * 3


def test_connections_that_break_are_disconnects_too(server: Server) -> None:
    before = at_rest(server)
    clients = [socketio.Client(reconnection=False) for _ in range(32)]
    for one in clients:
        one.connect(f"http://{HOST}:{server.port}", transports=["websocket"], wait_timeout=30)
    assert counts(server)[0] == before[0] + 32
    for one in clients:
        one.eio.ws.sock.shutdown(socket.SHUT_RDWR)
    wait_for(lambda: counts(server)[1] == before[1] + 32, "every disconnect", 30)
    for one in clients:
        one.eio.wait()


def test_a_crowd_comes_and_every_disconnect_is_seen(server: Server) -> None:
    before = at_rest(server)
    with ThreadPoolExecutor(32) as pool:
        for transport in pool.map(lambda _: talk(server, ["websocket"]), range(CROWD)):
            assert transport == "websocket"
    expected = (before[0] + CROWD, before[1] + CROWD)
    wait_for(lambda: counts(server) == expected, "every disconnect", 30)
