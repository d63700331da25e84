"""The harness must catch what it is there to catch, and its clients must see what breaks."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from harness.http1 import Broken, Connection, Response, request
from harness.log import Log, Record
from harness.planted import run_planted
from harness.ports import HOST, Ports
from harness.waiting import wait_for

# The whole path: a suite of its own with one test each that plants a fault and passes by itself.
PLANTED = """
import pytest
from harness.caddyfile import wsgi
from harness.http1 import Broken

@pytest.fixture(scope="module")
def server(serve_module):
    return serve_module(wsgi("{module}:app"))

def test_plants_it(server):
    try:
        server.get("{target}")
    except (Broken, OSError):
        pass

def test_the_next_one_is_not_blamed(server):
    assert server.get("/hello").status == 200
"""


@pytest.mark.in_process("it plants faults in Caddy's process")
@pytest.mark.parametrize(
    ("module", "target", "said"),
    [
        ("wsgi_mistakes", "/raises", "Traceback"),
        ("talkative", "/writes_to_stderr", "unexpected: "),
        ("guest", "/leaves_a_daemon_thread", "Python threads grew"),
        ("guest", "/leaves_descriptors", "descriptors grew"),
        ("guest", "/aborts", "the server is dead"),
        ("guest", "/segfaults", "the server is dead"),
    ],
    ids=["traceback", "stderr", "thread leak", "descriptor leak", "abort", "segfault"],
)
def test_a_planted_fault_fails_its_own_test_only(
    tmp_path: Path, module: str, target: str, said: str
) -> None:
    report = run_planted(tmp_path, PLANTED.format(module=module, target=target))
    assert "1 failed, 1 passed" in report, report
    assert "FAILED test_planted.py::test_plants_it" in report
    assert said in report


# The log


@pytest.mark.parametrize(
    "line",
    [
        '{"level":"error","msg":"x"}',
        '{"level":"info","msg":"Traceback (most recent call last):"}',
        "panic: runtime error: index out of range",
        "fatal error: all goroutines are asleep - deadlock!",
        "WARNING: DATA RACE",
        "==1==ERROR: AddressSanitizer: heap-use-after-free",
        "anything that is not JSON",
    ],
)
def test_a_bad_line_is_a_problem(line: str) -> None:
    assert Record.parse(line).is_problem


@pytest.mark.parametrize(
    "line", ['{"level":"info","msg":"serving"}', '{"level":"warn","msg":"a warning"}']
)
def test_a_good_line_is_none(line: str) -> None:
    assert not Record.parse(line).is_problem


def test_a_line_is_read_once_it_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_text('{"level":"info","msg":"one"}\n{"level":"in')
    log = Log(path)
    assert [record.message for record in log.read()] == ["one"]
    with path.open("a") as file:
        file.write('fo","msg":"two"}\n')
    assert [record.message for record in log.read()] == ["one", "two"]


# Ports and waiting


def test_a_reserved_port_is_given_to_nobody_else_but_a_listener_may_join() -> None:
    ports = Ports()
    mine = {ports.take() for _ in range(200)}
    others = Ports()
    assert not mine & {others.take() for _ in range(200)}
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        listener.bind((HOST, next(iter(mine))))
        listener.listen()
    ports.release()
    others.release()


def test_waiting_gives_up_and_says_what_for() -> None:
    with pytest.raises(AssertionError, match="waiting for nothing"):
        wait_for(lambda: False, "nothing", deadline=0.05)


# The HTTP/1.1 client against a server that sends fixed bytes


@contextmanager
def serving(answer: bytes, *, reset: bool = False) -> Iterator[int]:
    listener = socket.create_server((HOST, 0))

    def serve() -> None:
        peer, _ = listener.accept()
        peer.recv(65536)
        peer.sendall(answer)
        if reset:
            peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        peer.close()

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        yield listener.getsockname()[1]
    finally:
        thread.join()
        listener.close()


def answer_to(data: bytes, method: str = "GET") -> Response:
    with serving(data) as port:
        return request(port, method, "/")


def test_a_chunked_answer_is_read_with_its_trailers() -> None:
    data = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n0\r\nX-T: 1\r\n\r\n"
    response = answer_to(data)
    assert (response.body, response.broken) == (b"ab", None)


@pytest.mark.parametrize(
    "data",
    [
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab",
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nab",
    ],
    ids=["no last chunk", "cut chunk", "short length"],
)
def test_a_cut_answer_is_broken(data: bytes) -> None:
    response = answer_to(data)
    assert response.body in (b"ab", b"")
    assert response.broken is not None


def test_a_reset_answer_is_broken() -> None:
    data = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n"
    with serving(data, reset=True) as port, Connection(port) as connection:
        connection.request("GET", "/")
        with pytest.raises(Broken):
            connection.head()
            list(connection.chunks())


def test_an_answer_without_framing_ends_with_the_connection() -> None:
    response = answer_to(b"HTTP/1.0 200 OK\r\n\r\nuntil the end")
    assert (response.body, response.broken) == (b"until the end", None)


def test_interim_answers_are_kept_apart() -> None:
    data = b"HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 204 No Content\r\n\r\n"
    response = answer_to(data)
    assert (response.interim, response.status) == ([103], 204)


def test_head_has_no_body_whatever_its_length_says() -> None:
    response = answer_to(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", "HEAD")
    assert (response.body, response.broken) == (b"", None)
