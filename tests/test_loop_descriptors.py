"""The descriptors that event loops open for themselves stay open, whatever an application closes by
number: its own loops, those of other applications and those that serve requests wake up and end."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness import http1, proc
from harness.acting import ask, site
from harness.caddyfile import asgi
from harness.health import Slack
from harness.plugin import Serve
from harness.server import Server

# Every socket, pipe and nameless file of the process that is above the standard streams.
FOUND = """
import fcntl, socket, stat
def found():
    for number in range(3, 1024):
        try:
            mode = os.fstat(number).st_mode
        except OSError:
            continue
        if stat.S_ISSOCK(mode) or stat.S_ISFIFO(mode) or not stat.S_IFMT(mode):
            yield number
def over(number, null):
    if number != null:
        os.dup2(null, number)
"""
WAYS = {
    "os.close": "os.close(number)",
    "socket.close": "socket.close(number)",
    "a socket object": "socket.socket(fileno=number).close()",
    "a file object": "open(number, 'rb', buffering=0).close()",
    "os.dup2": "over(number, null)",
}
CLOSES = """
    null = os.open(os.devnull, os.O_RDWR)
    for number in found():
        try:
            WAY
        except OSError:
            pass
    os.close(null)
    taken.extend(socket.socketpair() for _ in range(24))
    return "closed"
"""
# Loops that an application makes itself, and runs on threads of its own.
LOOPS = """
import asyncio, uvloop
loops, threads, taken = [], [], []
for make in asyncio.SelectorEventLoop, uvloop.new_event_loop:
    loops.append(make())
    threads.append(threading.Thread(target=loops[-1].run_forever, daemon=True))
    threads[-1].start()
async def wake():
    for _ in range(3):
        await asyncio.sleep(0.001)
    return "awake"
def look(path):
    if path == "/close":
        return close()
    if path == "/end":
        return end()
    return [asyncio.run_coroutine_threadsafe(wake(), loop).result(10) for loop in loops]
def end():
    for loop, thread in zip(loops, threads):
        loop.call_soon_threadsafe(loop.stop)
        thread.join(10)
        loop.close()
    return [loop.is_closed() for loop in loops], [thread.is_alive() for thread in threads]
def close():
"""
AWAKE, ENDED = str(["awake"] * 2), str(([True] * 2, [False] * 2))
SERVED = """
import asyncio, threading
async def app(scope, receive, send):
    loop, woken = asyncio.get_running_loop(), asyncio.Event()
    threading.Thread(target=lambda: loop.call_soon_threadsafe(woken.set)).start()
    await asyncio.wait_for(woken.wait(), 10)
    text = type(loop).__module__.encode()
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": text})
"""


def _served(folder: Path, loop: str) -> str:
    (folder / "served").mkdir(exist_ok=True)
    (folder / "served" / "served.py").write_text(SERVED)
    return asgi("served:app", "lifespan off", f"loop {loop}", folder=folder / "served")


def _all_wake(server: Server) -> None:
    for number in 0, 1:
        assert ask(server, number) == AWAKE
    for number, module in (2, "caddysnake_py.loops"), (3, "uvloop"):
        answer = http1.request(server.ports[number], "GET", "/", timeout=20)
        assert (answer.status, answer.text) == (200, module)


def _nameless(server: Server) -> dict[int, str]:
    """The pipes, epolls, eventfds and io_urings of the server. All belong to loops or to Go."""
    found = proc.descriptors(server.pid).items()
    return {number: name for number, name in found if name.startswith(("pipe:", "anon_inode:"))}


@pytest.mark.in_process("a worker has descriptors of its own")
@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
def test_a_loop_keeps_what_wakes_it(serve: Serve, tmp_path: Path, way: str) -> None:
    closes = FOUND + LOOPS + CLOSES.replace("WAY", way)
    sites = [
        site(tmp_path, "closes", closes),
        site(tmp_path, "keeps", LOOPS + "    raise RuntimeError"),
        _served(tmp_path, "asyncio"),
        _served(tmp_path, "uvloop"),
    ]
    server = serve(*sites, slack=Slack(threads=24, python_threads=8, descriptors=96))
    server.allow_log("that the server uses")
    for is_first in True, False:  # the second time after a forced reload
        _all_wake(server)
        before = _nameless(server)
        assert ask(server, 0, "/close") == "closed"
        if is_first:  # later, the loops of the earlier applications are closed meanwhile
            assert before.items() <= _nameless(server).items()
        _all_wake(server)
        for number in 0, 1:
            assert ask(server, number, "/end") == ENDED
        assert server.force(*sites).status == 200
    _all_wake(server)
    server.stop()
