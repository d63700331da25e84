"""python-socketio with its own client: polling, websockets, the upgrade from one to the other."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import pytest
import socketio

from harness.caddyfile import asgi
from harness.plugin import Serve
from harness.ports import HOST
from harness.server import Server
from harness.waiting import wait_for

CROWD = 256

POLLING, WEBSOCKET, UPGRADE = ["polling"], ["websocket"], ["polling", "websocket"]


@pytest.fixture(scope="module", params=["asyncio", "uvloop"])
def server(serve_module: Serve, request: pytest.FixtureRequest) -> Server:
    site = asgi("socketio_app:app", f"loop {request.param}", folder="socketio_site")
    return serve_module(site, probe="/counts")


def counts(server: Server) -> dict[str, int]:
    """How often each event has been seen by the app since it was loaded."""
    pairs = (line.rpartition("=") for line in server.get("/counts").text.splitlines())
    return {name: int(count) for name, _, count in pairs}


def rise(server: Server, before: dict[str, int], name: str) -> int:
    return counts(server).get(name, 0) - before.get(name, 0)


@asynccontextmanager
async def client(server: Server, transports: list[str]) -> AsyncIterator[socketio.AsyncClient]:
    found = socketio.AsyncClient(reconnection=False)
    await found.connect(f"http://{HOST}:{server.port}", transports=transports, wait_timeout=30)
    try:
        yield found
    finally:
        await found.disconnect()


async def until(condition: Callable[[], Awaitable[bool]], what: str) -> None:
    async def poll() -> None:
        while not await condition():
            await asyncio.sleep(0.01)

    try:
        await asyncio.wait_for(poll(), 10)
    except asyncio.TimeoutError:
        raise AssertionError(f"gave up waiting for {what}") from None


@pytest.mark.smoke
@pytest.mark.parametrize("transports", [POLLING, WEBSOCKET, UPGRADE], ids="+".join)
def test_events_are_acknowledged_over_each_transport(
    server: Server, transports: list[str]
) -> None:
    async def talk() -> None:
        async with client(server, transports) as one:
            for data in ("gr\u00fc\u00df", b"\x00\xff", {"list": [1, 2], "bytes": b"x" * 100_000}):
                assert await one.call("echo", data, timeout=10) == data

            async def has_arrived() -> bool:
                return bool(await one.call("transport", timeout=10) == transports[-1])

            await until(has_arrived, f"transport {transports[-1]}")

    before = counts(server)
    asyncio.run(talk())
    wait_for(
        lambda: rise(server, before, "disconnect: client disconnect") == 1, "the app to hear of it"
    )


@pytest.mark.parametrize("transports", [POLLING, UPGRADE], ids="+".join)
def test_what_is_said_in_a_room_is_heard_by_all_in_it(
    server: Server, transports: list[str]
) -> None:
    async def talk() -> None:
        async with AsyncExitStack() as stack:
            clients = [
                await stack.enter_async_context(client(server, transports)) for _ in range(4)
            ]
            heard: list[list[str]] = [[] for _ in clients]
            for one, list_ in zip(clients, heard, strict=True):
                one.on("said", list_.append)
            for one in clients[:3]:
                await one.call("join", "library", timeout=10)
            for text in ("first", "second"):
                await clients[0].call("say", ("library", text), timeout=10)

            async def all_have_heard() -> bool:
                return [len(list_) for list_ in heard] == [2, 2, 2, 0]

            await until(all_have_heard, "the messages")
            assert heard == [["first", "second"]] * 3 + [[]]

    asyncio.run(talk())


@pytest.mark.parametrize("transports", [POLLING, WEBSOCKET], ids="+".join)
def test_a_client_may_be_refused(server: Server, transports: list[str]) -> None:
    async def knock() -> None:
        stranger = socketio.AsyncClient(reconnection=False)
        with pytest.raises(socketio.exceptions.ConnectionError, match="not you"):
            await stranger.connect(
                f"http://{HOST}:{server.port}", auth="stranger", transports=transports
            )
        await stranger.disconnect()

    asyncio.run(knock())


def test_256_clients_come_and_every_disconnect_is_delivered(server: Server) -> None:
    """Half of them say goodbye, the others' connections just end."""

    async def crowd() -> None:
        async with AsyncExitStack() as stack:
            clients = []
            for start in range(0, CROWD, 16):
                wave = (connected(stack) for _ in range(start, start + 16))
                clients += await asyncio.gather(*wave)

            async def echo(number: int, one: socketio.AsyncClient) -> None:
                assert await one.call("echo", number, timeout=30) == number

            await asyncio.gather(*(echo(number, one) for number, one in enumerate(clients)))
            for one in clients[: CROWD // 2]:
                # The transport goes away without a word of the protocol.
                transport: Any = one.eio.ws
                transport._conn.transport.abort()

    async def connected(stack: AsyncExitStack) -> socketio.AsyncClient:
        return await stack.enter_async_context(client(server, WEBSOCKET))

    before = counts(server)
    asyncio.run(crowd())
    wait_for(
        lambda: rise(server, before, "disconnect") == CROWD,
        lambda: f"the disconnects; there are {counts(server)}",
        30,
    )
    assert rise(server, before, "connect") == CROWD
    assert rise(server, before, "disconnect: client disconnect") == CROWD // 2
    assert rise(server, before, "disconnect: transport close") == CROWD // 2
