"""Websockets when their app is replaced or stopped (conformance K20)."""

from __future__ import annotations

import signal
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from harness import http1
from harness.caddyfile import BRIEF_GRACE, asgi
from harness.plugin import Serve
from harness.server import Server
from harness.waiting import wait_for
from harness.websocket import BINARY, CLOSE, HANDSHAKE, TEXT, Frame, WebSocket

pytestmark = pytest.mark.conformance("K20")

CROWD = 256


@pytest.fixture
def notes(tmp_path: Path) -> Path:
    path = tmp_path / "notes"
    path.touch()
    return path


def lines(notes: Path) -> list[str]:
    return notes.read_text().splitlines()


def app(notes: Path, version: int = 1, loop: str = "auto") -> str:
    variables = (f"env_var LIFE_NOTES {notes}", f"env_var LIFE_VERSION {version}")
    return asgi("websocket_life:app", *variables, f"loop {loop}")


def opened(server: Server, target: str, **options: int) -> WebSocket:
    socket = WebSocket(server, target, **options)
    assert socket.receive().payload == b"open"
    return socket


def last(socket: WebSocket) -> Frame:
    """The first frame that is no message."""
    while (frame := socket.receive()).opcode in (TEXT, BINARY):
        pass
    return frame


def replace(server: Server, notes: Path) -> None:
    assert server.load(app(notes, 2)).status == 200


def stop_by_api(server: Server, notes: Path) -> None:
    assert http1.request(server.admin, "POST", "/stop").status == 200


def stop_by_command(server: Server, notes: Path) -> None:
    done = server.command("stop", "--address", f"127.0.0.1:{server.admin}")
    assert done.returncode == 0, done.stderr


def stop_by_signal(server: Server, notes: Path) -> None:
    assert server.process is not None
    server.process.send_signal(signal.SIGTERM)


WAYS = [replace, stop_by_api, stop_by_command, stop_by_signal]


def see_it_end(server: Server, way: object) -> None:
    if way is not replace:
        assert server.process is not None
        assert server.process.wait(15) == 0
        server.process = None


@pytest.mark.smoke
@pytest.mark.parametrize("way", WAYS)
def test_client_and_app_hear_of_the_end_and_shutdown_comes_last(
    serve: Serve, notes: Path, way: object
) -> None:
    server = serve(app(notes))
    with opened(server, "/listens") as socket, ThreadPoolExecutor(1) as pool:
        # The server waits for the client's answer, within limits.
        done = pool.submit(way, server, notes)  # type: ignore[arg-type]
        frame = socket.receive()
        assert (frame.opcode, frame.code) == (CLOSE, 1012)
        socket.close(1012)
        assert socket.has_ended()
        done.result()
        see_it_end(server, way)
    wait_for(lambda: len(lines(notes)) >= 2, "the shutdown")
    assert lines(notes) == ["disconnect 1012 ''", "shutdown"]


@pytest.mark.parametrize("way", [replace, stop_by_signal])
@pytest.mark.parametrize("case", ["/deaf", "/chatters"])
def test_an_app_that_only_sends_gets_an_error(
    serve: Serve, notes: Path, way: object, case: str
) -> None:
    server = serve(app(notes))
    with opened(server, case) as socket:
        way(server, notes)  # type: ignore[operator]
        assert last(socket).code == 1012
        see_it_end(server, way)
    wait_for(lambda: len(lines(notes)) >= 2, "the shutdown")
    assert lines(notes) == ["raised BrokenPipeError", "shutdown"]


@pytest.mark.parametrize("way", [replace, stop_by_signal])
def test_clients_that_do_not_read_hold_up_nothing(serve: Serve, notes: Path, way: object) -> None:
    server = serve(app(notes))
    with opened(server, "/chatters", receive_buffer=65536):
        way(server, notes)  # type: ignore[operator]
        see_it_end(server, way)
        wait_for(lambda: len(lines(notes)) >= 2, "the shutdown", 15)
    assert lines(notes) == ["raised BrokenPipeError", "shutdown"]


@pytest.mark.parametrize("way", [replace, stop_by_signal])
def test_clients_that_do_not_answer_the_close_hold_up_nothing(
    serve: Serve, notes: Path, way: object
) -> None:
    server = serve(app(notes))
    with opened(server, "/listens") as socket:
        way(server, notes)  # type: ignore[operator]
        see_it_end(server, way)
        wait_for(lambda: len(lines(notes)) >= 2, "the shutdown", 15)
        assert socket.receive().code == 1012
        assert socket.has_ended()


@pytest.mark.parametrize("way", [replace, stop_by_signal])
def test_an_app_may_clean_up_before_the_shutdown(serve: Serve, notes: Path, way: object) -> None:
    server = serve(app(notes))
    with opened(server, "/cleans_up") as socket:
        way(server, notes)  # type: ignore[operator]
        assert socket.receive().code == 1012
        see_it_end(server, way)
    wait_for(lambda: len(lines(notes)) >= 2, "the shutdown")
    assert lines(notes) == ["cleaned up", "shutdown"]


def test_a_websocket_that_is_not_accepted_yet_ends_with_the_server(
    serve: Serve, notes: Path
) -> None:
    server = serve(app(notes), options=[BRIEF_GRACE])
    server.allow_log(".")  # The app returns without a word, and Caddy's patience ends.
    with server.connect() as connection:
        connection.request("GET", "/undecided", HANDSHAKE)
        wait_for(lambda: lines(notes), "the app to wait")
        stop_by_signal(server, notes)
        see_it_end(server, stop_by_signal)
        assert lines(notes) == ["undecided", "over", "shutdown"]


def test_a_websocket_that_a_replaced_app_accepts_is_sent_away(serve: Serve, notes: Path) -> None:
    server = serve(app(notes))
    with ThreadPoolExecutor(1) as pool:
        opening = pool.submit(WebSocket, server, "/late")
        wait_for(lambda: lines(notes), "the app to wait")
        assert server.load(app(notes, 2)).status == 200
        with notes.open("a") as file:
            file.write("go\n")
        with opening.result() as socket:
            assert last(socket).code == 1012
            socket.close(1012)
    wait_for(lambda: "shutdown" in lines(notes), "the shutdown", 15)
    assert lines(notes) == ["waiting", "go", "websocket.disconnect 1012", "shutdown"]


@pytest.mark.smoke
@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
def test_a_crowd_hears_of_a_reload_and_the_new_app_serves(
    serve: Serve, notes: Path, loop: str
) -> None:
    server = serve(app(notes, 1, loop))
    sockets = [opened(server, "/listens") for _ in range(CROWD)]
    assert server.load(app(notes, 2, loop)).status == 200
    for socket in sockets:
        assert socket.receive().code == 1012
        socket.close(1012)
        assert socket.has_ended()
        socket.connection.close()
    wait_for(lambda: len(lines(notes)) > CROWD, "the shutdown")
    assert lines(notes) == ["disconnect 1012 ''"] * CROWD + ["shutdown"]
    with opened(server, "/listens") as socket:
        socket.text("to the new app")
        assert socket.receive().payload == b"to the new app"


def test_messages_are_not_lost_to_a_reload_of_something_else(serve: Serve, notes: Path) -> None:
    server = serve(app(notes))
    with opened(server, "/listens") as socket:
        for number in range(5):
            assert server.load(f"header X-Number {number}\n{app(notes)}").status == 200
            socket.text(f"message {number}")
            assert socket.receive().payload == f"message {number}".encode()
        socket.close(4000, "bye")
        assert socket.receive().code == 4000
    wait_for(lambda: lines(notes), "the disconnect")
    assert lines(notes) == ["disconnect 4000 'bye'"]


def test_many_reloads_with_open_websockets_leave_nothing_behind(serve: Serve, notes: Path) -> None:
    server = serve(app(notes, 0))
    for version in range(1, 11):
        sockets = [opened(server, "/listens") for _ in range(8)]
        assert server.load(app(notes, version)).status == 200
        for socket in sockets:
            assert socket.receive().code == 1012
            socket.connection.close()
    wait_for(lambda: lines(notes).count("shutdown") == 10, "the shutdowns")
    # The check after the test finds what was kept.


def test_a_removed_site_sends_its_websockets_away(serve: Serve, notes: Path) -> None:
    server = serve(app(notes))
    with opened(server, "/listens") as socket:
        assert server.load('respond "no app any more"').status == 200
        assert socket.receive().code == 1012
