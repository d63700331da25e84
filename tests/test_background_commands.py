"""Commands that run beside an application: `background`."""

from __future__ import annotations

import json
import os
import shutil
import signal
from pathlib import Path

import pytest

from harness.board import Board
from harness.caddyfile import BRIEF_GRACE, asgi, python, wsgi
from harness.health import Slack
from harness.hosts import Caddy
from harness.plugin import Serve
from harness.ports import Ports
from harness.settings import APPS, VENV
from harness.waiting import wait_for
from harness.workers import await_end, is_alive

BESIDE = Slack(threads=12, python_threads=2, descriptors=16, children=2)
BARE = f"python_path {APPS / 'bare'}"


def beside(board: Board, *options: str, command: str = "python beside.py") -> str:
    notes = f"env_var NOTES {board.folder}"
    return wsgi("main:app", BARE, notes, f"background {command}", *options, folder="background")


def begun(board: Board, times: int = 1) -> int:
    return int(board.wait("begun", times, 30)[times - 1])


@pytest.mark.smoke
def test_a_command_runs_in_the_environment_of_its_app(
    serve: Serve, board: Board, tmp_path: Path
) -> None:
    (tmp_path / "variables").write_text("SHAPE=round\nCOLOR=red\n")
    options = [f"env_file {tmp_path / 'variables'}", "env_var COLOR green"]
    block = beside(board, *options, command='python beside.py "an argument" two')
    server = serve(block, slack=BESIDE)
    pid = begun(board)
    facts = json.loads(board.lines("facts")[0])
    folder = APPS / "background"
    assert facts.pop("descriptors")[0] == "/dev/null"
    assert facts == {
        "main": str(folder / "main.py"),
        "prefix": str(VENV),
        "venv": str(VENV),
        "directory": str(folder),
        "color": "green",
        "shape": "round",
        "pipe": True,
        "arguments": ["an argument", "two"],
    }
    assert os.getpgid(pid) == pid
    for stream, text in (("stdout", "printed"), ("stderr", "complained")):
        (record,) = wait_for(
            lambda text=text: server.log.find(f"^planted: {text}$"), f"what is {text}"
        )
        assert (record.level, record.fields["stream"]) == ("info", stream)
        assert record.fields["background"] == "python beside.py an argument two"
    server.stop()
    assert board.lines("ended") == [str(pid)]


def test_a_command_that_ends_is_started_again_without_its_children(
    serve: Serve, board: Board
) -> None:
    server = serve(beside(board, command="python beside.py parent"), slack=BESIDE)
    server.expect_log("^a background command has ended: it is started again$")
    first = begun(board)
    os.kill(first, signal.SIGKILL)
    second = begun(board, 2)
    assert is_alive(second)
    await_end({first, int(board.lines("child")[0])})
    (record,) = server.log.find("^a background command has ended")
    assert record.fields["end"] == "signal 9 (killed)"
    assert "planted: complained" in record.fields["last_output"]


def test_the_pauses_of_a_command_that_keeps_ending_grow(serve: Serve, board: Board) -> None:
    server = serve(beside(board, command="python beside.py brief"), slack=BESIDE)
    server.allow_log("^a background command has ended: it is started again$")
    begun(board, 4)
    records = server.log.find("^a background command has ended")
    assert {record.fields["end"] for record in records} == {"exit code 3"}
    times = [record.fields["ts"] for record in records[:3]]
    assert times[2] - times[1] > 0.2
    assert server.get("/").status == 200
    server.stop()


@pytest.mark.smoke
def test_a_configuration_with_a_program_that_is_missing_is_refused(
    serve: Serve, board: Board
) -> None:
    server = serve(beside(board), slack=BESIDE)
    pid = begun(board)
    answer = server.load(beside(board, command="no-such-program --now"))
    assert answer.status == 400
    said = "background no-such-program --now: there is no program no-such-program in "
    assert said in answer.text
    server.expect_log("there is no program no-such-program")
    assert server.get("/").status == 200
    assert is_alive(pid)


def test_a_command_without_a_program_is_refused(unstarted: Serve, board: Board) -> None:
    assert "background" in unstarted(beside(board, command="")).run_in_vain()


@pytest.mark.smoke
def test_a_reload_of_the_code_starts_the_command_anew(
    serve: Serve, board: Board, tmp_path: Path
) -> None:
    folder = tmp_path / "site"
    shutil.copytree(APPS / "background", folder)
    notes = f"env_var NOTES {board.folder}"
    options = [BARE, notes, "background python beside.py", "autoreload {\ndebounce 50ms\n}"]
    server = serve(python("main:app", *options, folder=folder), slack=BESIDE)
    old = begun(board)
    with (folder / "main.py").open("a") as file:
        file.write("\n# changed\n")
    new = begun(board, 2)
    await_end({old})
    assert board.lines("ended") == [str(old)]
    assert is_alive(new)
    server.expect_log("^reloading python app failed")
    good = (folder / "main.py").read_text()
    (folder / "main.py").write_text("1 / 0")
    await_end({new})  # as the application, which fails until it is mended
    (folder / "main.py").write_text(good)
    assert is_alive(begun(board, 3))


def test_another_configuration_ends_the_command(serve: Serve, board: Board) -> None:
    server = serve(beside(board), slack=BESIDE)
    pid = begun(board)
    server.configure(beside(board, "threads 3"))
    other = begun(board, 2)
    await_end({pid})
    assert is_alive(other)
    server.configure(wsgi("main:app", BARE, folder="background"))
    await_end({other})


def test_a_command_that_ignores_sigterm_is_killed(serve: Serve, board: Board) -> None:
    block = beside(board, command="python beside.py stubborn")
    server = serve(block, options=[BRIEF_GRACE], slack=BESIDE)
    pid = begun(board)
    server.stop()
    assert board.lines("ended") == [str(pid)]
    assert not is_alive(pid)


def test_a_command_ends_when_the_server_is_killed(board: Board, tmp_path: Path) -> None:
    ports = Ports()
    site = f"http://127.0.0.1:{ports.take()} {{\n{beside(board)}\n}}\n"
    caddy = Caddy(tmp_path / "caddy", site, f"127.0.0.1:{ports.take()}")
    try:
        caddy.start()
        pid = begun(board)
    finally:
        caddy.end(signal.SIGKILL)
        ports.release()
    await_end({pid})
    assert board.lines("ended") == [str(pid)]


def printed(folder: Path) -> list[str]:
    file = folder / "printed"
    return file.read_text().rsplit(" ", 1) if file.exists() else []


def test_a_celery_worker(serve: Serve, board: Board) -> None:
    notes = f"env_var NOTES {board.folder}"
    command = "background celery --app site_celery.celery worker --concurrency 1 --loglevel WARNING"
    block = wsgi("site_celery:app", notes, command, folder="celery_site")
    server = serve(block, slack=BESIDE)
    found, app = json.loads(server.get("/add?first=2&second=3").text)
    assert found["sum"] == 5
    assert found["pid"] != app
    server.stop()
    await_end({found["pid"]})


def test_a_runworker_of_channels(serve: Serve, board: Board) -> None:
    notes = f"env_var NOTES {board.folder}"
    command = "background python manage.py runworker printer"
    server = serve(asgi("worker_site:app", notes, command, folder="runworker_site"), slack=BESIDE)
    app = json.loads(server.get("/send").text)["pid"]
    text, pid = wait_for(lambda: printed(board.folder), "the job", 30)
    assert text == "a page"
    assert int(pid) != app
    server.stop()
    await_end({int(pid)})
