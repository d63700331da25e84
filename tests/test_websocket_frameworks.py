"""Frameworks with websockets, driven by real clients: Litestar, Quart, Django Channels."""

from __future__ import annotations

import json

import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect

from harness.caddyfile import asgi
from harness.health import Slack
from harness.plugin import Serve
from harness.ports import HOST
from harness.server import Server
from harness.waiting import wait_for

pytestmark = pytest.mark.smoke
# They keep threads for what blocks.
EXECUTOR = Slack(python_threads=4)


def socket(server: Server, target: str) -> ClientConnection:
    return connect(f"ws://{HOST}:{server.port}{target}")


@pytest.fixture(scope="module")
def litestar(serve_module: Serve) -> Server:
    return serve_module(
        asgi("litestar_main:app", folder="litestar_site"), probe="/hello", slack=EXECUTOR
    )


@pytest.fixture(scope="module")
def quart(serve_module: Serve) -> Server:
    return serve_module(asgi("quart_main:app", folder="quart_site"), probe="/hello")


@pytest.fixture
def channels(serve: Serve) -> Server:
    return serve(asgi("channels_main:app", folder="channels_site"), probe="/hello", slack=EXECUTOR)


def test_litestar_answers_http(litestar: Server) -> None:
    assert litestar.get("/hello").text == "hello"
    assert json.loads(litestar.get("/items/7").text) == {"number": 7}
    headers = [("Content-Type", "application/json")]
    assert litestar.request("POST", "/sum", headers, b"[1, 2, 3]").text == "6"
    events = [line for line in litestar.get("/events").text.splitlines() if line]
    assert events == ["data: 0", "data: 1", "data: 2"]
    assert litestar.get("/items/none").status == 404


def test_litestar_talks_to_a_websocket(litestar: Server) -> None:
    with socket(litestar, "/echo") as client:
        client.send("hi")
        assert client.recv() == "litestar hi"
        with pytest.raises(ConnectionClosed):
            client.recv()
        assert (client.close_code, client.close_reason) == (4001, "done")


def test_quart_answers_http(quart: Server) -> None:
    assert json.loads(quart.get("/hello").text) == {"started": ["started"]}
    assert quart.request("POST", "/length", [], [bytes(100_000)] * 3).text == "300000"
    assert quart.get("/stream").text == "0\n1\n2\n"


def test_quart_talks_to_a_websocket(quart: Server) -> None:
    with socket(quart, "/echo") as client:
        for word in ("one", "two"):
            client.send(word)
            assert client.recv() == f"quart {word}"


def test_channels_has_rooms(channels: Server) -> None:
    with socket(channels, "/room") as one:
        assert json.loads(one.recv()) == "joined"
        with socket(channels, "/room") as two:
            assert json.loads(two.recv()) == "joined"
            two.send("hello")
            assert json.loads(one.recv()) == "hello"
            assert json.loads(two.recv()) == "hello"
            two.close(4002)
        assert json.loads(one.recv()) == "left: 4002"


def test_channels_refuses_unknown_paths(channels: Server) -> None:
    channels.expect_failure("No route found")
    response = channels.get(
        "/nowhere",
        [
            ("Connection", "Upgrade"),
            ("Upgrade", "websocket"),
            ("Sec-WebSocket-Version", "13"),
            ("Sec-WebSocket-Key", "AAECAwQFBgcICQoLDA0ODw=="),
        ],
    )
    assert response.status == 500
    wait_for(lambda: channels.get("/hello").text == '"hello"', "the site to go on")
