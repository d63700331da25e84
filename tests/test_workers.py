"""Apps in worker processes: what they find there, and what their ends cost (`workers <n>`)."""

from __future__ import annotations

import json
import os
import re
import signal
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from harness import http1
from harness.board import Board
from harness.caddyfile import wsgi
from harness.crowd import Crowd
from harness.http1 import Connection
from harness.log import Record
from harness.plugin import Serve
from harness.server import Server
from harness.settings import APPS
from harness.source import ASGI, EAGER, WSGI, Source, await_version
from harness.waiting import wait_for
from harness.websocket import CLOSE, TEXT, WebSocket
from harness.workers import WORKERS, await_end, loop_worker, processes, worker, workers

pytestmark = pytest.mark.in_process("its apps have workers, and its canaries none")

ERRORS = 'handle_errors {\n    respond "handled {err.status_code}" {err.status_code}\n}'
ENDED = "^python worker has ended unexpectedly$"
LOST = "^requests of an ended python worker are lost$"
DEADLY = "deadly:app"


def await_successor(server: Server, pid: int) -> int:
    """Waits for answers of another process; its pid."""

    def new() -> int:
        response = server.get("/pid")
        return int(response.text) if response.status == 200 and int(response.text) != pid else 0

    return wait_for(new, "a successor")


@contextmanager
def in_flight(server: Server, board: Board, target: str) -> Iterator[tuple[Connection, int]]:
    """A request that has begun, and the process that it runs in."""
    with server.connect() as connection:
        connection.request("GET", target, board.headers)
        yield connection, int(board.wait("begun")[-1])


@pytest.fixture(scope="module")
def plain(serve_module: Serve) -> Server:
    site = worker("plain:app", "env_var PLANTED yes", "env_var TZ Asia/Kolkata")
    return serve_module(site, probe="/pid", slack=WORKERS)


# What a plain Python has


@pytest.mark.smoke
def test_the_app_is_imported_on_the_main_thread_of_another_process(plain: Server) -> None:
    assert int(plain.get("/pid").text) != plain.pid
    assert json.loads(plain.get("/start").text) == {
        "thread": True,
        "signal": True,
        "directory": str(APPS / "workers"),
    }
    assert plain.get("/is_multiprocess").text == "True"


@pytest.mark.smoke
def test_signals_variables_and_time_zones_are_the_processs_own(plain: Server) -> None:
    assert plain.get("/takes_a_signal").text == f"[{int(signal.SIGUSR1)}]"
    assert plain.get("/environment").text == "yes\nseen\n"
    assert [plain.get(target).text for target in ("/epoch", "/tokyo")] == ["05:30", "09:00"]


@pytest.mark.smoke
def test_output_records_and_warnings_name_the_worker(plain: Server) -> None:
    plain.allow_log("planted")
    assert plain.get("/talks").text == "said"
    for said in ("printed", "logged", "warned", "by descriptor"):
        wait_for(
            lambda said=said: plain.log.find(f"planted: {said}", worker=1, app="plain:app"),
            f"the record {said!r}",
        )


def test_an_upload_arrives_whole(plain: Server) -> None:
    body = os.urandom(5 << 20)
    assert plain.request("POST", "/length", body=body).text == str(len(body))
    pieces = (body[i : i + 70000] for i in range(0, len(body), 70000))
    assert plain.request("POST", "/length", body=pieces).text == str(len(body))


def test_two_workers_share_concurrent_requests(serve: Serve, board: Board) -> None:
    server = serve(worker("plain:app", workers="workers 2"), slack=WORKERS)
    with ExitStack() as stack:
        connections = [stack.enter_context(server.connect()) for _ in range(4)]
        for connection in connections:
            connection.request("GET", "/waits", board.headers)
        begun = board.wait("begun", 4)
        board.post("go")
        answers = [connection.response().text for connection in connections]
    assert sorted(answers) == sorted(begun)
    assert sorted(answers.count(pid) for pid in set(answers)) == [2, 2]
    assert str(server.pid) not in answers


# The option


@pytest.mark.smoke
@pytest.mark.parametrize("option", ["", "workers 0"])
@pytest.mark.in_process("without the option, blocks of the suite in workers have it")
def test_without_workers_the_app_is_in_caddys_process(serve: Serve, option: str) -> None:
    server = serve(worker("plain_pid:app", workers=option))
    assert server.get("/").text == str(server.pid)


@pytest.mark.smoke
@pytest.mark.parametrize("value", ["x", "-1", "1.5"])
def test_other_values_are_refused_by_name(unstarted: Serve, value: str) -> None:
    said = unstarted(worker("plain:app", workers=f"workers {value}")).run_in_vain()
    assert re.search(rf"workers must be auto or a number up to \d+, not '{value}'", said)


@pytest.mark.smoke
@pytest.mark.parametrize("kind", ["process", "thread"])
def test_options_of_older_versions_choose_the_home(serve: Serve, kind: str) -> None:
    options = (f"workers_runtime {kind}", "workers 2")
    server = serve(worker("plain_pid:app", *options, workers=""), slack=WORKERS)
    assert (server.get("/").text == str(server.pid)) == (kind == "thread")


def test_a_module_that_fails_is_refused_with_the_text_that_it_has_in_caddys_process(
    unstarted: Serve, tmp_path: Path
) -> None:
    (tmp_path / "broken.py").write_text("def deep():\n    raise ValueError('planted')\n\ndeep()\n")
    said = {}
    for number in (0, 1):
        site = wsgi("broken:app", f"workers {number}", folder=tmp_path)
        server = unstarted(site, canary=False)
        path = str(server.write(site))
        done = server.command("run", "--adapter", "caddyfile", "--config", path)
        assert done.returncode == 1
        (error,) = [r for r in map(Record.parse, done.stderr.splitlines()) if r.level == "error"]
        said[number] = error.message
    # Between them are frames of the import system, which has one more in Caddy's process.
    first = f'  File "{tmp_path}/broken.py"'
    starts, _, ends = zip(*[text.partition(first) for text in said.values()], strict=True)
    assert "ValueError: planted" in ends[0]
    assert ends[0] == ends[1]
    assert len({start.partition("Traceback")[0] for start in starts}) == 1


# The end of a worker


@pytest.mark.parametrize(
    ("target", "end"),
    [
        ("/is_killed", "signal 9"),
        ("/exits", "exit code 3"),
        ("/segfaults", "signal 11"),
    ],
)
def test_a_worker_that_ends_costs_the_requests_that_it_had_begun(
    serve: Serve, board: Board, target: str, end: str
) -> None:
    other = f"handle_path /other/* {{\n{wsgi('guest:app')}\n}}"
    server = serve(
        f"{other}\nhandle {{\n{worker(DEADLY)}\n}}\n{ERRORS}", probe="/pid", slack=WORKERS
    )
    pid = int(server.get("/pid").text)
    server.health.expect("502|ended|lost|worker", None, None, None, optional=True)
    with in_flight(server, board, "/waits") as (waiting, _):
        lost = server.get(target)
        assert server.get("/other/hello").text == "hello"
        beside = waiting.response()
    assert (lost.status, lost.text) == (502, "handled 502")
    assert (beside.status, beside.text) == (502, "handled 502")
    await_successor(server, pid)
    (record,) = wait_for(lambda: server.log.find(ENDED), "the record of the end")
    assert record.fields["end"].startswith(end)
    (requests,) = wait_for(lambda: server.log.find(LOST), "the record of what is lost")
    named = requests.fields["requests"]
    assert {each.rpartition(" after ")[0] for each in named} == {f"GET {target}", "GET /waits"}


def await_read(server: Server, connection: Connection) -> None:
    """Waits until Caddy has read what was sent: the request is in its queue, or on the way."""
    mine = connection.socket.getsockname()[1]

    def nothing_left() -> bool:
        # The kernel's table of sockets: Caddy's end has the client's port as its remote one.
        for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
            fields = line.split()
            ports = [int(fields[at].partition(":")[2], 16) for at in (1, 2)]
            if ports == [server.port, mine]:
                return int(fields[4].partition(":")[2], 16) == 0
        return False

    wait_for(nothing_left, "Caddy to read the request")


def test_a_request_that_had_not_begun_is_answered_by_the_successor(
    serve: Serve, board: Board
) -> None:
    server = serve(worker(DEADLY, "threads 1"), probe="/pid", slack=WORKERS)
    server.health.expect("502|ended|lost|worker", None, None, None, optional=True)
    with in_flight(server, board, "/waits") as (begun, pid), server.connect() as queued:
        queued.request("POST", "/pid", body=b"x")
        await_read(server, queued)
        os.kill(pid, signal.SIGKILL)
        assert begun.response().status == 502
        answer = queued.response()
    assert answer.status == 200
    assert int(answer.text) != pid


def test_a_worker_that_keeps_ending_is_started_again_after_pauses(
    serve: Serve, tmp_path: Path
) -> None:
    doom = tmp_path / "doom"
    server = serve(worker("ending:app", f"env_var DOOM {doom}") + f"\n{ERRORS}", slack=WORKERS)
    server.health.expect("503|ended|worker", None, None, None, optional=True)
    assert server.get("/").text == "alive"
    doom.touch()

    def refused() -> http1.Response | None:
        response = server.get("/")
        return response if response.status == 503 else None

    response = wait_for(refused, "an answer while no worker runs", 30)
    assert response.get("retry-after") == "1"
    wait_for(lambda: len(server.log.find("keeps ending", level="warn")) >= 3, "three pauses", 30)
    pauses = [record.fields["pause"] for record in server.log.find("keeps ending")]
    assert pauses == sorted(set(pauses))  # One record for each, and each is longer.
    doom.unlink()
    wait_for(lambda: server.get("/").status == 200, "a worker that lives", 30)


@pytest.mark.parametrize("seed", range(3))
def test_what_a_worker_scribbles_into_shared_memory_harms_nobody(
    serve: Serve, board: Board, seed: int
) -> None:
    site = f"handle_path /other/* {{\n{worker('plain:app')}\n}}\nhandle {{\n{worker(DEADLY)}\n}}"
    server = serve(site, probe="/other/pid", slack=WORKERS)
    server.health.expect(".", None, None, None, optional=True)
    with in_flight(server, board, "/waits"), server.connect() as connection:
        connection.request("GET", f"/scribbles?{seed}", board.headers)
        wait_for(
            lambda: board.lines("scribbled") or server.log.find("is killed|has ended"),
            "the nonsense to be written",
        )
        for _ in range(50):
            assert server.get("/other/pid").status == 200
        # Killed or not, it is a client of Caddy's like any other.
        with ThreadPoolExecutor(8) as pool:
            answers = list(pool.map(lambda _: status(server, "/pid"), range(16)))
        board.post("go")
    assert all(answer is None or answer in (200, 500, 502, 503) for answer in answers), answers
    assert server.get("/other/pid").status == 200
    assert not server.log.find("panic|SIGSEGV")


def status(server: Server, target: str) -> int | None:
    """None: no answer, or one that broke."""
    try:
        response = server.get(target, timeout=5)
    except (OSError, http1.Broken):
        return None
    return None if response.broken else response.status


# Reloads and the end of Caddy


@pytest.mark.parametrize("template", [WSGI, ASGI], ids=["wsgi", "asgi"])
@pytest.mark.parametrize("kind", ["config", "autoreload"])
def test_reloads_lose_no_request_and_leave_no_process(
    serve: Serve, tmp_path: Path, template: str, kind: str
) -> None:
    source = Source(tmp_path / "site", template)
    eager = EAGER if kind == "autoreload" else None
    server = serve(source.block("workers 2", autoreload=eager), slack=WORKERS)
    old: set[int] = set()
    with Crowd(server, 8) as crowd:
        for number in range(4):
            old |= workers(server)
            source.write(f"deploy {number}")
            if kind == "config":
                changed = source.block("workers 2", f"env_var NUMBER {number}", autoreload=None)
                assert server.load(changed).status == 200
            await_version(server, f"deploy {number}")
    assert crowd.failures == []
    assert kind == "config" or crowd.reconnects == 0
    await_end(old)
    assert len(workers(server)) == 2


def test_threads_that_go_on_end_with_their_worker(serve: Serve, tmp_path: Path) -> None:
    code = (
        "import os, threading\n"
        "threading.Timer(600, print).start()\n"
        "if not os.path.exists('reloaded'):\n"
        "    threading.Thread(target=threading.Event().wait, name='ticker').start()\n"
    )
    source = Source(tmp_path / "site", code + WSGI)
    server = serve(source.block("workers 1"), slack=WORKERS)
    old = workers(server)
    warning = "threads of an unloaded application go on: ticker; they end with their worker"
    server.expect_log(warning, level="warn", times=1)
    (source.folder / "reloaded").touch()
    source.write("2")
    await_version(server, "2")
    await_end(old)


def test_the_end_of_caddy_is_the_end_of_all_processes(serve: Serve, board: Board) -> None:
    server = serve(loop_worker(board, workers="workers 3"), slack=WORKERS)
    started = board.wait("started", 3)
    left = processes(server) | {int(pid) for pid in started}
    assert len(set(started)) == 3
    server.stop()
    assert sorted(board.lines("stopped")) == sorted(started)
    await_end(left)


# What streams


def test_files_of_some_megabytes_are_delivered(serve: Serve, board: Board, tmp_path: Path) -> None:
    content = os.urandom(3 << 20)
    (tmp_path / "large").write_bytes(content)
    files = wsgi("wsgi_files:app", "workers 1")
    site = f"handle_path /wsgi/* {{\n{files}\n}}\nhandle {{\n{loop_worker(board)}\n}}"
    server = serve(site, slack=WORKERS)
    for _ in range(3):
        assert server.get(f"/wsgi/file?path={tmp_path / 'large'}", board.headers).body == content
        assert server.get(f"/file?{tmp_path / 'large'}").body == content


def test_the_first_event_of_a_stream_comes_at_once(serve: Serve, board: Board) -> None:
    server = serve(loop_worker(board), slack=WORKERS)
    with server.connect() as connection:
        connection.request("GET", "/events")
        connection.head()
        pieces = connection.chunks()
        assert next(pieces) == b"data: first\n\n"
        board.post("go")
        assert b"".join(pieces) == b"data: last\n\n"


@pytest.mark.parametrize(("end", "code"), [("reload", 1012), ("kill", 1011)])
def test_a_websocket_is_closed_with_the_reason(
    serve: Serve, board: Board, end: str, code: int
) -> None:
    server = serve(loop_worker(board), probe="/pid", slack=WORKERS)
    server.health.expect("ended|lost|worker", None, None, None, optional=True)
    with WebSocket(server, "/") as websocket:
        websocket.text("hello")
        echo = websocket.receive()
        text, _, pid = echo.payload.decode().partition(" from ")
        assert (echo.opcode, text) == (TEXT, "hello")
        assert int(pid) != server.pid
        if end == "kill":
            os.kill(int(pid), signal.SIGKILL)
        else:
            assert server.load(loop_worker(board, "env_var CHANGED yes")).status == 200
        closed = websocket.receive()
        assert (closed.opcode, closed.code) == (CLOSE, code)
    await_end({int(pid)})
