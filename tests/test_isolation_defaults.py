"""Settings of the process and of the standard library that one application makes: the other finds
nothing changed, and the server goes on."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.acting import ask, site
from harness.caddyfile import asgi, python
from harness.health import ONE_THREAD, Slack
from harness.plugin import Serve
from harness.waiting import wait_for

LOOK = """
    import asyncio, faulthandler, gc, multiprocessing, random, signal, socket
    def look(path):
        before = random.getstate()
        sock = socket.socket()
        loop = asyncio.new_event_loop()
        loop.close()
        timeout = sock.gettimeout(), socket.getdefaulttimeout()
        sock.close()
        # Deep enough for anyone, and not too deep.
        def deep(n):
            return n and deep(n - 1)
        deep(500)
        os.fstat(2)
        return [
            multiprocessing.get_start_method(allow_none=True),
            type(asyncio.get_event_loop_policy()).__module__.partition(".")[0],
            type(loop).__module__.partition(".")[0],
            timeout, gc.isenabled(), sys.getswitchinterval(), threading.stack_size(),
            sys.getrecursionlimit() < 30000, before == random.getstate(),
        ]
"""
FRESH = "[None, 'asyncio', 'asyncio', (None, None), True, 0.001, 0, True, True]"
ACTS = {
    "start method": "import multiprocessing; multiprocessing.set_start_method('spawn')",
    "policy": "import uvloop; uvloop.install()",
    "no policy": "import asyncio; asyncio.set_event_loop_policy(None)",
    "watcher": """
import asyncio
if sys.version_info < (3, 12):
    asyncio.set_child_watcher(asyncio.SafeChildWatcher())""",
    "timeout": """
import socket
socket.setdefaulttimeout(0.5)
made = socket.socket()
assert made.gettimeout() == socket.getdefaulttimeout() == 0.5
made.close()""",
    "collector": "import gc; gc.disable(); gc.freeze(); assert not gc.isenabled()",
    "random": "import random; random.seed(1); assert random.random() == 0.13436424411240122",
    "recursion, low": "sys.setrecursionlimit(60)",
    "recursion, high": "sys.setrecursionlimit(10**6)",
    "switch interval": "sys.setswitchinterval(10)",
    "stack size": "threading.stack_size(32768)",
    "alarm": "import signal; signal.alarm(1); signal.setitimer(signal.ITIMER_REAL, 0.1)",
    "signals": "import signal; [signal.signal(n, signal.SIG_IGN) for n in (1, 2, 10, 12, 15)]",
    "end": """
import faulthandler
faulthandler.dump_traceback_later(0.01, exit=True)
faulthandler.register(12)
import time
time.sleep(0.1)
faulthandler.cancel_dump_traceback_later()""",
    "closerange": "os.closerange(3, 100)",
    "every descriptor": """
import socket, stat
for number in range(0, 60):
    try:
        mode = os.fstat(number).st_mode
        if number < 3 or stat.S_ISSOCK(mode) or not stat.S_IFMT(mode):
            os.close(number)
    except OSError:
        pass""",
    "standard descriptors": """
null = os.open(os.devnull, os.O_RDWR)
for number in 0, 1, 2:
    os.dup2(null, number)
os.close(null)""",
    "core": """
for name in "_caddysnake", "caddysnake_py", "caddysnake_py.bridge":
    assert name not in sys.modules
    try:
        __import__(name)
    except ModuleNotFoundError:
        pass
    else:
        raise AssertionError(name)""",
}


@pytest.mark.in_process("a worker has one application, and nothing to isolate")
@pytest.mark.parametrize("act", ACTS.values(), ids=ACTS)
def test_what_an_application_sets_changes_nothing_for_another(
    serve: Serve, tmp_path: Path, act: str
) -> None:
    acts = site(tmp_path, "acts", f"{act}\ndef look(path): return 'served'")
    looks = site(tmp_path, "looks", LOOK)
    server = serve(acts, looks, slack=Slack(children=1, descriptors=8))
    server.health.expect("^Timeout|^Thread 0x|^  [F<]|^$", "raw", None, None, optional=True)
    for _ in range(2):  # and once more by a forced reload
        assert ask(server, 0) == "served"
        assert ask(server, 1) == FRESH
        assert server.force(acts, looks).status == 200
    server.stop()


def test_two_applications_may_set_the_start_method(serve: Serve, tmp_path: Path) -> None:
    code = """
        import multiprocessing
        multiprocessing.set_start_method("{}")
        def look(path):
            try:
                multiprocessing.set_start_method("fork")
            except RuntimeError as error:
                return multiprocessing.get_start_method(), str(error)
    """
    sites = [site(tmp_path, each, code.format(each)) for each in ("spawn", "forkserver")]
    server = serve(*sites)
    for number, method in enumerate(("spawn", "forkserver")):
        assert ask(server, number) == str((method, "context has already been set"))


@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
def test_programs_of_one_application_do_not_need_the_policy_of_another(
    serve: Serve, tmp_path: Path, loop: str
) -> None:
    code = """
import asyncio
async def app(scope, receive, send):
    assert scope["type"] == "http"
    child = await asyncio.create_subprocess_exec("echo", "hi", stdout=-1)
    output, _ = await child.communicate()
    await send({"type": "http.response.start", "status": 200})
    await send({"type": "http.response.body", "body": output})
"""
    (tmp_path / "b.py").write_text(code)
    acts = site(tmp_path, "acts", "import uvloop; uvloop.install()\ndef look(path): pass")
    runs = python("b:app", f"loop {loop}", interface="module_asgi", folder=tmp_path)
    server = serve(acts, runs, slack=ONE_THREAD)
    ask(server, 0)
    assert ask(server, 1) == "hi\n"


# Signals


@pytest.mark.in_process("a worker has its own signals")
@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
def test_a_signal_handler_of_a_loop_is_a_warning(serve: Serve, tmp_path: Path, loop: str) -> None:
    code = """
import asyncio, signal
async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, print, "stopped")
        raise RuntimeError("no lifespan")
    await send({"type": "http.response.start", "status": 200})
    await send({"type": "http.response.body", "body": b"served"})
"""
    (tmp_path / "handles.py").write_text(code)
    server = serve(python("handles:app", f"loop {loop}", interface="module_asgi", folder=tmp_path))
    assert server.get("/").text == "served"
    (record,) = server.log.find("add_signal_handler")
    assert record.level == "warn"
    assert "SIGTERM" in record.message
    assert "handles.py" in record.message


def test_signals_of_a_forked_child_are_its_own(serve: Serve, tmp_path: Path) -> None:
    code = """
        import multiprocessing, signal, time
        def work(mark):
            def stop(*args):
                open(mark + ".handled", "w").close()
                os._exit(0)
            signal.signal(signal.SIGTERM, stop)
            signal.signal(signal.SIGINT, signal.SIG_IGN)
            open(mark, "w").close()
            time.sleep(30)
        def look(path):
            mark = os.path.join(os.path.dirname(__file__), "mark")
            child = multiprocessing.get_context("fork").Process(target=work, args=(mark,))
            child.start()
            while not os.path.exists(mark):
                time.sleep(0.01)
            os.kill(child.pid, signal.SIGINT)
            child.join(0.2)
            alive = child.is_alive()
            child.terminate()
            child.join()
            return alive, child.exitcode, os.path.exists(mark + ".handled")
    """
    server = serve(site(tmp_path, "forks", code), slack=Slack(descriptors=8))
    assert ask(server, 0) == "(True, 0, True)"
    assert not server.log.find("does nothing inside Caddy")


def test_an_asgi_application_alone_is_watched(serve: Serve) -> None:
    """The watching thread does not wait for a WSGI application."""
    server = serve(asgi("asgi_scope:show_scope"), canary=False)
    wait_for(lambda: server.get("/").status == 200, "an answer")
