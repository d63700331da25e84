"""What Redis connects: applications and the workers of queues, and websockets of all workers."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from itertools import count
from typing import TypeVar

import pytest
import socketio

from harness.board import Board
from harness.caddyfile import asgi, wsgi
from harness.daemons import daemon, free_port, program
from harness.health import Slack
from harness.plugin import Serve
from harness.ports import HOST
from harness.waiting import wait_for
from harness.websocket import WebSocket
from harness.workers import WORKERS, await_end

T = TypeVar("T")
BESIDE = Slack(threads=12, python_threads=2, descriptors=16, children=2)
# What python-socketio's client has for its pings and its listeners.
MANY = Slack(threads=24, wsgi_threads=72, python_threads=4, descriptors=60, children=4)


@pytest.fixture(scope="module")
def redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The option that tells an app where it is."""
    port = free_port()
    command = [program("redis-server", "redis-server"), "--bind", HOST, "--port", str(port)]
    command += ["--save", "", "--appendonly", "no"]
    with daemon(command, port, tmp_path_factory.mktemp("redis")):
        yield f"env_var REDIS_URL redis://{HOST}:{port}/0"


def test_a_celery_worker_gets_the_tasks_of_all_workers(serve: Serve, redis: str) -> None:
    command = "background celery --app site_celery.celery worker --concurrency 1 --loglevel WARNING"
    block = wsgi("site_celery:app", redis, command, "workers 2", folder="celery_site")
    server = serve(block, slack=WORKERS)
    with ThreadPoolExecutor(16) as pool:
        asked = [
            pool.submit(server.get, f"/add?first={n}&second=1", timeout=30) for n in range(200)
        ]
        answers = [json.loads(each.result().text) for each in asked]
    assert [found["sum"] for found, _ in answers] == list(range(1, 201))
    (queue,) = {found["pid"] for found, _ in answers}
    apps = {app for _, app in answers}
    assert len(apps) == 2
    assert queue not in apps
    server.stop()
    await_end({queue})


def test_a_runworker_of_channels_gets_its_jobs(serve: Serve, redis: str, board: Board) -> None:
    options = [
        redis,
        f"env_var NOTES {board.folder}",
        "background python manage.py runworker printer",
    ]
    server = serve(asgi("worker_site:app", *options, folder="runworker_site"), slack=BESIDE)
    app = json.loads(server.get("/send").text)["pid"]
    printed = board.folder / "printed"
    wait_for(printed.exists, "the job", 30)
    text, pid = printed.read_text().rsplit(" ", 1)
    assert text == "a page"
    assert int(pid) != app
    server.stop()
    await_end({int(pid)})


def in_both_workers(connect: Callable[[], tuple[int, T]]) -> list[T]:
    """Connects until there is a client in each of two workers; those two."""
    found: dict[int, T] = {}
    for tries in count():
        assert tries < 50, f"all clients are in {found}"
        pid, client = connect()
        found.setdefault(pid, client)
        if len(found) == 2:
            return list(found.values())
    raise AssertionError


def test_a_room_of_channels_has_the_sockets_of_all_workers(serve: Serve, redis: str) -> None:
    block = asgi("channels_room:app", redis, "workers 2", folder="redis_site")
    server = serve(block, slack=WORKERS)
    with ExitStack() as stack:

        def connect() -> tuple[int, WebSocket]:
            client = stack.enter_context(WebSocket(server, "/room"))
            return int(client.receive().payload), client

        one, other = in_both_workers(connect)
        one.text("hello")
        assert other.receive().payload == one.receive().payload == b"hello"


def test_socketio_reaches_the_clients_of_all_workers(serve: Serve, redis: str) -> None:
    block = asgi("socketio_room:app", redis, "workers 2", folder="redis_site")
    server = serve(block, slack=MANY)
    heard: list[str] = []
    clients: list[socketio.Client] = []
    with ExitStack() as stack:

        def connect() -> tuple[int, socketio.Client]:
            client = socketio.Client(reconnection=False)
            client.on("said", heard.append)
            url = f"http://{HOST}:{server.port}"
            client.connect(url, transports=["websocket"], wait_timeout=30)
            stack.callback(client.eio.wait)
            stack.callback(client.disconnect)
            clients.append(client)
            return client.call("where", timeout=30), client

        one, _ = in_both_workers(connect)
        one.emit("say", "hello")
        wait_for(lambda: heard == ["hello"] * len(clients), lambda: f"{len(clients)}; {heard}")
