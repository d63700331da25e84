"""Frameworks with websockets, driven by real clients: Litestar, Quart, Django Channels."""

from __future__ import annotations

import json
from contextlib import ExitStack
from typing import Any

import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import ClientConnection, connect

from harness.caddyfile import asgi
from harness.health import Slack
from harness.plugin import Serve
from harness.ports import HOST
from harness.server import Server
from harness.waiting import wait_for
from harness.websocket import HANDSHAKE

pytestmark = pytest.mark.smoke
# They keep threads for what blocks.
EXECUTOR = Slack(python_threads=4)


def socket(server: Server, target: str, **options: Any) -> ClientConnection:
    return connect(f"ws://{HOST}:{server.port}{target}", **options)


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


def test_a_litestar_listener_has_guards_and_converts(litestar: Server) -> None:
    litestar.allow_log("not you")
    with socket(litestar, "/listener/3?member") as client:
        client.send('{"a": 1, "b": 7}')
        assert json.loads(client.recv()) == {"a": 3, "b": 21}
    # It accepts no websocket of a stranger, by a response or by a close.
    with (
        pytest.raises((InvalidStatus, ConnectionClosed)),
        socket(litestar, "/listener/3") as client,
    ):
        client.recv()


def test_quart_talks_to_a_websocket(quart: Server) -> None:
    with socket(quart, "/echo") as client:
        for word in ("one", "two"):
            client.send(word)
            assert client.recv() == f"quart {word}"


def test_quart_answers_with_a_response_or_accepts(quart: Server) -> None:
    with pytest.raises(InvalidStatus) as caught:
        socket(quart, "/members")
    response = caught.value.response
    assert (response.status_code, response.body) == (401, b"speak, friend")
    assert response.headers["x-door"] == "shut"
    with socket(quart, "/members?secret=mellon", subprotocols=["dwarvish", "elvish"]) as client:
        assert client.subprotocol == "elvish"
        assert client.response is not None
        assert client.response.headers["x-door"] == "open"
        assert json.loads(client.recv()) == {"asked": ["dwarvish", "elvish"]}
        with pytest.raises(ConnectionClosed):
            client.recv()
        assert (client.close_code, client.close_reason) == (4003, "enter")


def test_an_error_in_quart_is_logged_and_ends_the_websocket(quart: Server) -> None:
    quart.expect_app_log("planted: in quart", times=None)
    with socket(quart, "/boom") as client:
        client.send("now")
        with pytest.raises(ConnectionClosed):
            client.recv()
        assert client.close_code == 1000  # Quart catches the error, and closes so itself.


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


def test_a_channels_consumer_may_run_on_a_thread(channels: Server) -> None:
    with socket(channels, "/sync", subprotocols=["one", "two"]) as client:
        assert client.subprotocol == "one"
        client.send("hello")
        assert client.recv() == "sync hello"
        client.send(b"\x00\x01")
        assert client.recv() == b"\x01\x00"
        client.send("go")
        with pytest.raises(ConnectionClosed):
            client.recv()
        assert (client.close_code, client.close_reason) == (4004, "gone")
    with pytest.raises(InvalidStatus) as caught:
        socket(channels, "/sync?stranger")
    assert caught.value.response.status_code == 403


def test_64_clients_in_a_channels_room_hear_each_other(channels: Server) -> None:
    with ExitStack() as stack:
        clients = [stack.enter_context(socket(channels, "/room")) for _ in range(64)]
        for client in clients:
            assert json.loads(client.recv()) == "joined"
        for number in range(5):
            clients[number].send(f"message {number}")
            assert {client.recv() for client in clients} == {json.dumps(f"message {number}")}


def test_channels_refuses_unknown_paths(channels: Server) -> None:
    channels.expect_failure("No route found")
    assert channels.get("/nowhere", HANDSHAKE).status == 500
    wait_for(lambda: channels.get("/hello").text == '"hello"', "the site to go on")
