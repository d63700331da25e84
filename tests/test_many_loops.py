"""Many ASGI apps at once, whose loops are woken in turn (core/asgi_gate.c)."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor

import pytest

from harness.board import Board
from harness.caddyfile import asgi
from harness.health import Slack
from harness.http1 import Broken, Connection
from harness.plugin import Serve
from harness.server import Server

MANY = 40
CLIENTS = 16


def crowd(numbers: Iterable[int], loop: str = "asyncio") -> str:
    """A site in which the path says the number of an app."""
    return "\n".join(
        asgi(
            "crowd_asgi:app",
            "lifespan off",
            f"loop {loop}",
            f"env_var NUMBER {number}",
            matcher=f"/{number}/*",
        )
        for number in numbers
    )


def keep_asking(server: Server, seed: int, numbers: range, go_on: Callable[[int], bool]) -> int:
    """Asks apps at random, on one connection as long as that lasts; returns how often. Caddy ends
    idle connections when its configuration is replaced; then the request is sent again."""
    choice = random.Random(seed)
    asked = 0
    while go_on(asked):
        with Connection(server.port, timeout=30) as connection:
            while go_on(asked):
                number = choice.choice(numbers)
                try:
                    connection.request("GET", f"/{number}/{choice.choice(['now', 'later'])}")
                    response = connection.response()
                except (ConnectionError, Broken):  # a timeout is neither
                    break
                assert (response.status, response.text) == (200, str(number))
                asked += 1
    return asked


@pytest.mark.smoke
@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
def test_requests_to_many_apps_are_all_answered(serve: Serve, loop: str) -> None:
    server = serve(crowd(range(MANY), loop), probe="/0/now", slack=Slack(threads=MANY))
    with ThreadPoolExecutor(CLIENTS) as pool:
        asking = [
            pool.submit(keep_asking, server, seed, range(MANY), lambda asked: asked < 250)
            for seed in range(CLIENTS)
        ]
        assert [each.result() for each in asking] == [250] * CLIENTS


@pytest.mark.in_process("20 processes take longer to start than an admin request has")
def test_apps_that_are_unloaded_do_not_hold_up_the_others(serve: Serve) -> None:
    slack = Slack(threads=MANY, python_threads=2, descriptors=MANY)
    server = serve(crowd(range(MANY)), probe="/0/now", slack=slack)
    kept = range(MANY // 2)
    done = threading.Event()
    with ThreadPoolExecutor(CLIENTS) as pool:
        asking = [
            pool.submit(keep_asking, server, seed, kept, lambda _: not done.is_set())
            for seed in range(CLIENTS)
        ]
        try:
            for present in (kept, range(MANY)) * 4:
                assert server.load(crowd(present)).status == 200
                if len(present) == MANY:
                    keep_asking(server, 1, range(MANY), lambda asked: asked < 200)
        finally:
            done.set()
        assert all(each.result() > 0 for each in asking)


@pytest.mark.conformance("E33")
def test_loops_that_block_wait_neither_for_each_other_nor_does_anyone_for_them(
    serve: Serve, board: Board
) -> None:
    server = serve(crowd(range(MANY)), probe="/0/now")
    blocked = range(MANY // 2)
    clients = [server.connect(timeout=30) for _ in blocked]
    for number, client in enumerate(clients):
        client.request("GET", f"/{number}/blocks", board.headers)
    board.wait("running", len(blocked))
    with ThreadPoolExecutor(CLIENTS) as pool:
        others = range(MANY // 2, MANY)
        asking = [
            pool.submit(keep_asking, server, seed, others, lambda asked: asked < 50)
            for seed in range(CLIENTS)
        ]
        assert [each.result() for each in asking] == [50] * CLIENTS
    board.post("go")
    for number, client in enumerate(clients):
        assert client.response().text == str(number)
        client.close()
    assert keep_asking(server, 0, range(MANY), lambda asked: asked < 2 * MANY) == 2 * MANY
