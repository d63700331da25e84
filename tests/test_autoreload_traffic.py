"""Reloads while requests run: none is lost, and each is answered by one version (T06, T09)."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path

import pytest

from harness import http1
from harness.board import Board
from harness.crowd import Crowd
from harness.health import Slack
from harness.plugin import Serve
from harness.server import Server
from harness.source import ASGI, WSGI, Source, await_version
from harness.waiting import wait_for
from harness.websocket import TEXT, WebSocket

QUICK = ("debounce 10ms",)
RELOADS = 40
# The old code and the new have 32 threads each, the canary has some as well.
TWICE = Slack(wsgi_threads=72)


@pytest.mark.conformance("T06")
@pytest.mark.parametrize("template", [WSGI, ASGI], ids=["wsgi", "asgi"])
@pytest.mark.timeout(180)
def test_many_changes_lose_and_mix_nothing(serve: Serve, tmp_path: Path, template: str) -> None:
    source = Source(tmp_path / "site", template)
    server = serve(source.block(autoreload=QUICK), slack=TWICE)
    with Crowd(server, 32) as crowd:
        for number in range(RELOADS):
            source.write(f"version {number}")
            await_version(server, f"version {number}")
    assert crowd.failures == []
    assert crowd.reconnects == 0
    assert len(crowd.answers) > RELOADS / 2


@pytest.mark.conformance("T06", "T11")
@pytest.mark.parametrize("template", [WSGI, ASGI], ids=["wsgi", "asgi"])
@pytest.mark.timeout(240)
def test_many_forced_reloads_lose_and_mix_nothing(
    serve: Serve, tmp_path: Path, template: str
) -> None:
    source = Source(tmp_path / "site", template)
    body = source.block(autoreload=None)
    server = serve(body, slack=TWICE)
    with Crowd(server, 32) as crowd:
        for number in range(RELOADS):
            source.write(f"version {number}")
            assert server.force(body).status == 200
            assert server.get("/").text == f"version {number}"
    assert crowd.failures == []


@pytest.mark.smoke
@pytest.mark.conformance("T06")
def test_a_request_finishes_on_the_code_that_it_began_on(
    serve: Serve, tmp_path: Path, board: Board
) -> None:
    source = Source(
        tmp_path / "site",
        """
import os, time

VERSION = {version!r}


def app(environ, start_response):
    folder = environ.get("HTTP_X_BOARD")
    if folder:
        open(os.path.join(folder, "running"), "a").write("\\n")
        while not os.path.exists(os.path.join(folder, "go")):
            time.sleep(0.01)
    start_response("200 OK", [("X-Version", VERSION)])
    from late import LATE
    return [f"{{VERSION}} {{LATE}}".encode()]
""",
    )
    (source.folder / "late.py").write_text("LATE = 'late'\n")
    server = serve(source.block())
    with server.connect() as connection:
        connection.request("GET", "/", board.headers)
        board.wait("running")
        source.write("2")
        await_version(server, "2 late")
        board.post("go")
        assert connection.response().text == "1 late"
    wait_for(lambda: server.log.find("^python app unloaded$"), "the old code to go")


STREAMS = """
import asyncio

VERSION = {version!r}


async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        while True:
            kind = (await receive())["type"]
            if kind.endswith("shutdown"):
                print("shutdown of", VERSION, flush=True)
            await send({{"type": kind + ".complete"}})
    elif scope["type"] == "websocket":
        await receive()
        await send({{"type": "websocket.accept"}})
        await send({{"type": "websocket.send", "text": VERSION}})
        print("websocket:", await receive(), flush=True)
    else:
        await send({{"type": "http.response.start", "status": 200, "headers": []}})
        is_stream = scope["path"] == "/events"
        body = {{"type": "http.response.body", "body": VERSION.encode(), "more_body": is_stream}}
        await send(body)
        while is_stream:
            message = await receive()
            if message["type"] == "http.disconnect":
                print("stream: disconnect", flush=True)
                break
"""


def streams(tmp_path: Path, *autoreload: str) -> tuple[Source, str]:
    source = Source(tmp_path / "site", STREAMS)
    block = source.block(autoreload=("debounce 50ms", *autoreload))
    return source, block


def logged(server: Server, text: str) -> None:
    wait_for(lambda: server.log.find(text), lambda: f"{text}\n{server.tail()}", 15)


@pytest.mark.smoke
@pytest.mark.conformance("T09")
def test_streams_and_websockets_delay_nothing_and_end_after_the_grace(
    serve: Serve, tmp_path: Path
) -> None:
    source, block = streams(tmp_path, "grace 1s")
    server = serve(block)
    with WebSocket(server, "/") as socket, server.connect() as connection:
        assert socket.receive().payload == b"1"
        connection.request("GET", "/events")
        assert connection.head().status == 200
        source.write("2")
        await_version(server, "2")
        assert socket.receive().code == 1012
        socket.close(1012)
        logged(server, "stream: disconnect")
        logged(server, r"websocket: .*1012")
        logged(server, "shutdown of 1")


@pytest.mark.conformance("T09", "L06")
def test_old_and_new_code_live_side_by_side_during_the_grace(serve: Serve, tmp_path: Path) -> None:
    source, block = streams(tmp_path, "grace 1h")
    server = serve(block)
    with WebSocket(server, "/") as socket, WebSocket(server, "/") as other:
        source.write("2")
        await_version(server, "2")
        with WebSocket(server, "/") as new:
            assert socket.receive().payload == b"1"
            assert other.receive().payload == b"1"
            assert new.receive().payload == b"2"
            assert server.log.find("shutdown of 1") == []
            socket.close(1000)
            other.close(1000)
            logged(server, "shutdown of 1")


@pytest.mark.conformance("T09", "T11")
@pytest.mark.timeout(240)
def test_streams_and_websockets_delay_no_forced_reload(serve: Serve, tmp_path: Path) -> None:
    """Some of each are open on every fourth of many generations."""
    source, _ = streams(tmp_path)
    body = source.block(autoreload=None)
    server = serve(body)
    server.allow_log("server shutdown")  # Caddy's own, whose grace period they outlive.
    with ExitStack() as stack:
        sockets: list[WebSocket] = []
        events: list[http1.Connection] = []
        for number in range(RELOADS):
            if number % 4 == 0:
                sockets.append(stack.enter_context(WebSocket(server, "/", timeout=30)))
                assert sockets[-1].receive().opcode == TEXT
                events.append(stack.enter_context(server.connect(timeout=30)))
                events[-1].request("GET", "/events")
                events[-1].head()
            source.write(f"version {number}")
            assert server.force(body).status == 200
            assert server.get("/").text == f"version {number}"
        for socket in sockets:
            assert socket.receive().code == 1012
            socket.close(1012)
        for stream in events:
            with pytest.raises(http1.Broken):
                list(stream.chunks())
        wait_for(lambda: count(server, "^shutdown of ") == RELOADS, "all old code to shut down", 20)
        assert count(server, "^stream: disconnect$") == len(events)


def count(server: Server, text: str) -> int:
    return len(server.log.find(text))


def goroutines(server: Server) -> int:
    profile = http1.request(server.admin, "GET", "/debug/pprof/goroutine?debug=1").text
    return int(profile.partition("total ")[2].split()[0])


@pytest.mark.conformance("T10")
@pytest.mark.parametrize("template", [WSGI, STREAMS], ids=["wsgi", "asgi"])
def test_reloads_leave_no_goroutine_behind(serve: Serve, tmp_path: Path, template: str) -> None:
    """Threads and descriptors are compared after each test anyway."""
    source = Source(tmp_path / "site", template)
    body = source.block(autoreload=QUICK)
    server = serve(body)
    before = goroutines(server)
    for number in range(30):
        source.write(f"version {number}")
        await_version(server, f"version {number}")
        assert server.force(body).status == 200
    wait_for(
        lambda: goroutines(server) <= before + 3,  # Caddy's connections come and go.
        lambda: f"{before} goroutines; there are {goroutines(server)}",
    )
