"""A Starlette site: streams and server-sent events arrive as they are sent."""

from __future__ import annotations

import itertools
import json
from typing import Any
from urllib.parse import urlencode

import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import ClientConnection, connect

from harness.board import Board
from harness.caddyfile import asgi
from harness.health import EXECUTORS
from harness.http1 import Connection
from harness.plugin import Serve
from harness.ports import HOST
from harness.server import Server
from harness.settings import APPS
from harness.waiting import wait_for


@pytest.fixture(scope="module", params=["app", "marked"], ids=["plain", "with middleware"])
def server(serve_module: Serve, request: pytest.FixtureRequest) -> Server:
    site = asgi(f"starlette_app:{request.param}", folder="starlette_site")
    return serve_module(site, probe="/hello", slack=EXECUTORS)


def target(path: str, **query: object) -> str:
    return f"{path}?{urlencode(query)}"


def send_until_closed(server: Server, board: Board, first: int) -> None:
    """Lets the app send events until it learns, from one of them, that the client has left."""
    numbers = itertools.count(first)

    def closed() -> bool:
        board.post(f"go{next(numbers)}")
        server.get("/collect")
        return (board.folder / "closed").exists()

    wait_for(closed, "the generator to be closed")


@pytest.mark.smoke
@pytest.mark.conformance("E25")
def test_a_streaming_response_arrives_as_it_is_made(server: Server, board: Board) -> None:
    with server.connect() as connection:
        connection.request("GET", target("/stream", go=board.folder / "go"))
        connection.head()
        pieces = connection.chunks()
        assert next(pieces) == b"first "
        board.post("go")
        assert b"".join(pieces) == b"last"


@pytest.mark.smoke
@pytest.mark.conformance("E25", "E26")
def test_each_event_arrives_before_the_next_is_sent(server: Server, board: Board) -> None:
    with server.connect() as connection:
        connection.request("GET", target("/events", folder=board.folder))
        assert connection.head().get("content-type") == "text/event-stream; charset=utf-8"
        pieces = connection.chunks()
        for number in range(5):
            assert next(pieces) == f"id: {number}\ndata: event {number}\n\n".encode()
            board.post(f"go{number}")
    send_until_closed(server, board, 5)


@pytest.mark.conformance("E25", "M08")
def test_events_pass_through_encode_gzip(serve: Serve, board: Board) -> None:
    site = "encode gzip\n" + asgi("starlette_app:app", folder="starlette_site")
    server = serve(site)
    with server.connect() as connection:
        headers = [("Accept-Encoding", "gzip")]
        connection.request("GET", target("/events", folder=board.folder), headers)
        connection.head()
        assert next(connection.chunks())
    send_until_closed(server, board, 0)


def test_a_generator_in_threads_is_streamed_whole(server: Server) -> None:
    response = server.get("/sync_stream")
    assert response.text.splitlines() == [str(number) for number in range(1000)]
    assert response.broken is None


@pytest.mark.conformance("E04", "E28")
def test_is_disconnected_notices_that_the_client_left(serve: Serve, board: Board) -> None:
    # Without BaseHTTPMiddleware, under which Starlette's is_disconnected() notices nothing.
    server = serve(asgi("starlette_app:app", folder="starlette_site"))
    with server.connect() as connection:
        connection.request("GET", target("/watches", folder=board.folder))
        board.wait_for_file("running")
    board.wait_for_file("closed")


def test_a_file_response_is_the_file(server: Server) -> None:
    path = APPS / "starlette_site" / "starlette_app.py"
    response = server.get("/file")
    assert response.body == path.read_bytes()
    assert response.get("content-length") == str(path.stat().st_size)


@pytest.mark.in_process("a worker runs in working_dir")
def test_a_file_response_may_have_a_relative_path(server: Server) -> None:
    (server.cwd / "relative").write_bytes(b"content")
    response = server.get("/file?relative")
    assert (response.status, response.body) == (200, b"content")


@pytest.mark.conformance("E06")
def test_a_request_body_streams_in(server: Server) -> None:
    with Connection(server.port) as connection:
        connection.request("POST", "/body", body=[b"x" * 70_000] * 10)
        assert json.loads(connection.response().body) == {"size": 700_000}


@pytest.mark.conformance("A07")
def test_mounts_see_their_root_path(server: Server) -> None:
    assert json.loads(server.get("/mounted/where").body) == {
        "path": "/mounted/where",
        "root": "/mounted",
    }


# Websockets


def websocket(server: Server, path: str, **options: Any) -> ClientConnection:
    return connect(f"ws://{HOST}:{server.port}{path}", **options)


@pytest.mark.smoke
@pytest.mark.conformance("K05", "K06", "K09")
def test_a_websocket_talks_and_its_end_is_told(server: Server, board: Board) -> None:
    path = target("/talk", folder=board.folder)
    with websocket(server, path, subprotocols=["other", "talk"]) as client:
        assert client.subprotocol == "talk"
        assert client.response is not None
        assert client.response.headers["x-talk"] == "yes"
        for message in ("gr\u00fc\u00df", {"n": [1, None]}, "x" * 200_000):
            client.send(json.dumps(message))
            assert json.loads(client.recv()) == {"you said": message}
        client.close(4002, "bye")
    assert board.wait("gone") == ["4002 bye"]


@pytest.mark.conformance("K06", "K09")
def test_a_websocket_endpoint_takes_bytes_only(server: Server) -> None:
    with websocket(server, "/reversed") as client:
        client.send(b"abc")
        assert client.recv() == b"cba"
        server.allow_log("Expected bytes websocket messages")
        client.send("text")
        with pytest.raises(ConnectionClosed):
            client.recv()
        assert client.close_code == 1003


@pytest.mark.conformance("K02")
def test_a_websocket_is_refused_with_a_response(server: Server) -> None:
    with pytest.raises(InvalidStatus) as caught:
        websocket(server, "/refuse")
    response = caught.value.response
    assert (response.status_code, response.headers["x-why"]) == (418, "teapot")
    assert response.body == b"no tea here"
    with pytest.raises(InvalidStatus) as caught:
        websocket(server, "/nowhere")
    assert caught.value.response.status_code in (403, 404)


@pytest.mark.conformance("A07", "K09")
def test_a_mounted_websocket_knows_where_it_is(server: Server) -> None:
    with websocket(server, "/mounted/socket") as client:
        found = json.loads(client.recv())
        assert found["path"] == "/mounted/socket"
        assert found["url"].startswith(f"ws://{HOST}:{server.port}/")
        with pytest.raises(ConnectionClosed):
            client.recv()
        assert (client.close_code, client.close_reason) == (4000, "that is all")
