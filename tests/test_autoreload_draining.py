"""What becomes of requests on code that was replaced: `grace` and `drain_timeout` (T09)."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from harness import http1
from harness.board import Board
from harness.plugin import Serve
from harness.server import Server
from harness.settings import APPS
from harness.source import Source, await_reloads, await_version
from harness.waiting import wait_for

pytestmark = pytest.mark.conformance("T09")

WSGI = """
import os
from board import Board
from cases import Cases

VERSION = {version!r}
case = Cases()


def app(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    return case[environ["PATH_INFO"]](environ)


@case
def version(environ):
    return [VERSION.encode()]


@case
def waits(environ):
    board = Board.of(environ)
    board.note("running")
    try:
        board.wait("go")
    except Exception:
        board.note("went on")
    except BaseException as error:
        board.note("ended", type(error).__name__)
        raise
    return [VERSION.encode()]


@case
def streams(environ):
    board = Board.of(environ)
    try:
        yield VERSION.encode()
        while not board.has("go"):
            yield b"."
    finally:
        board.note("ended")
    yield b"!"


@case
def rests(environ):
    yield b"begun"
    Board.of(environ).wait("never")


@case
def sends_much(environ):
    board = Board.of(environ)
    board.note("running")
    try:
        while True:
            yield bytes(1 << 20)
    finally:
        board.note("ended")


@case
def blocks_in_c(environ):
    board = Board.of(environ)
    pipe = os.path.join(board.folder, "pipe")
    os.mkfifo(pipe)
    board.note("running")
    with open(pipe, "rb") as file:
        file.read()
    return [VERSION.encode()]
"""

ASGI = """
import asyncio, time
from board import Board
from cases import Cases

VERSION = {version!r}
case = Cases()


async def app(scope, receive, send):
    async def body(data, more=False):
        await send({{"type": "http.response.body", "body": data, "more_body": more}})

    if scope["type"] == "lifespan":
        while True:
            kind = (await receive())["type"]
            await send({{"type": kind + ".complete"}})
    if scope["path"] != "/waits":
        await send({{"type": "http.response.start", "status": 200, "headers": []}})
    await case[scope["path"]](scope, body)


@case
async def version(scope, body):
    await body(VERSION.encode())


@case
async def waits(scope, body):
    board = Board.of(scope)
    board.note("running")
    try:
        await board.until("go")
    except Exception:
        board.note("went on")
    except BaseException as error:
        for _ in range(20):  # what a second cancellation would end
            await asyncio.sleep(0.01)
        board.note("ended", type(error).__name__)
        raise


@case
async def streams(scope, body):
    board = Board.of(scope)
    try:
        await body(VERSION.encode(), True)
        while not board.has("go"):
            await body(b".", True)
            await asyncio.sleep(0.001)
        await body(b"!")
    finally:
        board.note("ended")


@case
async def rests(scope, body):
    await body(b"begun", True)
    await Board.of(scope).until("never")


@case
async def sends_much(scope, body):
    board = Board.of(scope)
    board.note("running")
    try:
        while True:
            await body(bytes(1 << 20), True)
    finally:
        board.note("ended")
"""

REPLACED = "^python application was replaced or stopped before it responded$"
CANCELLED = (
    r"^request was cancelled after [\d.]+ s, because its code is being unloaded; it was here:"
)
UNLOADED = "^python app unloaded$"


@pytest.fixture(params=[WSGI, ASGI], ids=["wsgi", "asgi"])
def source(request: pytest.FixtureRequest, tmp_path: Path) -> Source:
    return Source(tmp_path / "site", request.param)


def draining(source: Source, *autoreload: str, threads: str = "threads 8") -> str:
    options = (f"python_path {APPS / 'bare'}", threads)
    return source.block(*options, autoreload=("debounce 50ms", *autoreload))


@contextmanager
def running(server: Server, board: Board, target: str) -> Iterator[http1.Connection]:
    with server.connect() as connection:
        connection.request("GET", target, board.headers)
        yield connection


def replace(server: Server, source: Source) -> None:
    source.write("2")
    await_version(server, "2", "/version")


def await_end(server: Server) -> None:
    wait_for(lambda: server.log.find(UNLOADED), lambda: f"the end\n{server.tail()}", 20)


@pytest.mark.smoke
def test_a_request_that_takes_longer_is_ended(serve: Serve, source: Source, board: Board) -> None:
    server = serve(draining(source, "grace 1s", "drain_timeout 1s"))
    server.expect_log(REPLACED)
    with running(server, board, "/waits") as connection:
        board.wait("running")
        replace(server, source)
        response = connection.response()
        assert (response.status, response.broken) == (503, None)
    expected = "RequestTimeout" if source.template is WSGI else "CancelledError"
    assert board.wait("ended") == [expected]
    assert board.lines("went on") == []
    await_end(server)
    (record,) = server.log.find("^requests are cancelled: ")
    assert record.fields["requests"] == 1
    if source.template is WSGI:
        (record,) = server.log.find(CANCELLED)
        assert "in waits" in record.message


@pytest.mark.smoke
def test_a_stream_that_moves_outlives_the_grace(serve: Serve, source: Source, board: Board) -> None:
    server = serve(draining(source, "grace 1s"))
    with running(server, board, "/streams") as moves, running(server, board, "/rests") as rests:
        moves.head()
        pieces = moves.chunks()
        rests.head()
        replace(server, source)
        with pytest.raises(http1.Broken):  # It shows that the grace is over.
            for _ in rests.chunks():
                next(pieces)
        board.post("go")
        *_, last = pieces
        assert last.endswith(b"!")
        board.post("never")  # A thread can't be told that its client has left.
    await_end(server)


def test_a_stream_that_moves_is_broken_off_in_the_end(
    serve: Serve, source: Source, board: Board
) -> None:
    server = serve(draining(source, "grace 1s", "drain_timeout 2s"))
    with running(server, board, "/streams") as connection:
        connection.head()
        replace(server, source)
        response = b""
        with pytest.raises(http1.Broken):
            for piece in connection.chunks():
                response += piece
    assert response.startswith(b"1.")
    board.wait("ended")
    await_end(server)


def test_a_client_that_does_not_read_holds_nothing_up(
    serve: Serve, source: Source, board: Board
) -> None:
    server = serve(draining(source, "grace 1h", "drain_timeout 1s"))
    with server.connect(receive_buffer=4096) as connection, server.connect2() as connection2:
        connection.request("GET", "/sends_much", board.headers)
        connection.head()
        # Its window is full soon.
        connection2.start("GET", "/sends_much", board.headers)
        board.wait("running", 2)
        replace(server, source)
        board.wait("ended", 2)
        await_end(server)


@pytest.mark.in_process("a request waits in Caddy, not for a thread")
def test_a_request_that_still_waits_for_a_thread_is_never_run(
    serve: Serve, tmp_path: Path, board: Board
) -> None:
    source = Source(tmp_path / "site", WSGI)
    server = serve(draining(source, "grace 1s", "drain_timeout 1s", threads="threads 1"))
    server.expect_log(REPLACED, times=2)
    with running(server, board, "/waits") as first:
        board.wait("running")
        with running(server, board, "/waits") as second:
            source.write("2")
            await_reloads(server, 1)
            assert [each.response().status for each in (first, second)] == [503, 503]
    await_end(server)
    assert board.lines("running") == [""]


@pytest.mark.in_process("a worker that is stuck is killed")
@pytest.mark.smoke
def test_a_thread_stuck_in_c_is_left_behind_until_it_returns(
    serve: Serve, tmp_path: Path, board: Board
) -> None:
    source = Source(tmp_path / "site", WSGI)
    server = serve(draining(source, "grace 1s", "drain_timeout 1s"))
    server.expect_log(REPLACED)
    with running(server, board, "/blocks_in_c") as connection:
        board.wait("running")
        replace(server, source)
        assert connection.response().status == 503
    wait_for(lambda: server.log.find("it is left behind"), "the report")
    (record,) = server.log.find(CANCELLED)
    assert "in blocks_in_c" in record.message
    assert server.log.find(UNLOADED) == []
    for version in "345":
        source.write(version)
        await_version(server, version, "/version")
    with (board.folder / "pipe").open("wb"):
        pass
    wait_for(lambda: len(server.log.find(UNLOADED)) == 4, "the end of all old code")


@pytest.mark.in_process("a worker that is stuck is killed")
def test_a_blocked_loop_is_left_behind_until_it_goes_on(
    serve: Serve, tmp_path: Path, board: Board
) -> None:
    blocks = """

@case
async def blocks(scope, body):
    board = Board.of(scope)
    board.note("running")
    board.wait("go")
    await body(b"done")
"""
    source = Source(tmp_path / "site", ASGI + blocks)
    server = serve(draining(source, "grace 1s", "drain_timeout 1s"))
    server.expect_log(REPLACED)
    server.expect_app_log("^unloading python app\nit does not shut down; it is left behind")
    with running(server, board, "/blocks") as connection:
        board.wait("running")
        source.write("2")
        await_reloads(server, 1)
        assert connection.response().status == 503
    wait_for(lambda: server.log.find("it is left behind"), "the report", 25)
    assert server.log.find(UNLOADED) == []
    board.post("go")
    await_end(server)
