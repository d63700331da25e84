"""What an application takes away from the standard library while it serves is there for the others.

One application acts in a request. A moment later the other finds everything as it was.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.acting import ask, site
from harness.health import Slack
from harness.plugin import Serve
from harness.server import Server
from harness.waiting import wait_for

ACTS = {
    "len": "import builtins\nbuiltins.len = lambda *args: 1 / 0",
    "most builtins": """
import builtins
for name in ("len", "open", "print", "isinstance", "getattr", "setattr", "hasattr", "repr", "iter",
             "next", "vars", "callable", "issubclass", "__import__", "__build_class__"):
    setattr(builtins, name, lambda *args, **kwargs: 1 / 0)""",
    "builtins deleted": """
import builtins
for name in ("len", "open", "print", "isinstance", "getattr", "__import__", "__build_class__"):
    delattr(builtins, name)""",
    "functions of sys deleted": "del sys.exc_info, sys._getframe, sys.modules, sys.flags",
    "sys.modules replaced": "sys.modules = {}",
    "path hooks": "sys.path_hooks.clear()\nsys.path_importer_cache.clear()",
    "functions that are none": """
import json, time, asyncio
json.dumps = time.time = asyncio.run = threading.Thread.start = os.listdir = None""",
    "os.environ replaced": "os.environ = {'ONLY': 'this'}",
    "os.environ deleted": "del os.environ",
    "the clock": "import time\ntime.time = time.sleep = time.monotonic = lambda *args: 1 / 0",
    "descriptors": """
for number in 0, 1, 2:
    os.fdopen(number, "rb" if number == 0 else "wb", closefd=True).close()
    open(number, "rb" if number == 0 else "wb").close()
files = [open(os.devnull) for _ in range(4)]""",
}
LOOKS = """
    import asyncio, builtins, importlib, json, time
    def find():
        sys.modules.pop("found_later", None)
        sys.path_importer_cache.pop(os.path.dirname(__file__), None)
        return importlib.import_module("found_later").VALUE
    def use():
        thread = threading.Thread(target=lambda: None)
        thread.start()
        thread.join()
        class Made: pass
        with open(__file__) as file:
            size = len(file.read()) > 0
        for number in 0, 1, 2:
            os.fstat(number)
        logging.getLogger("looks").warning("looked at")
        return (find(), Made.__name__, size, json.dumps([1]), asyncio.run(asyncio.sleep(0, 1)),
                time.time() > 0, os.environ["OF_LOOKS"], os.getenv("ONLY"), sys.flags.optimize,
                sys.modules["__main__"] is not None, sys.exc_info(), "found_later.py" in os.listdir(
                os.path.dirname(__file__)))
    def look(path):
        try:
            return use()
        except BaseException as error:
            return f"failed: {type(error).__name__}"
"""


@pytest.fixture
def pair(serve: Serve, tmp_path: Path):  # type: ignore[no-untyped-def]
    def start(act: str) -> Server:
        code = f"files = []\ndef act():\n    global files\n{_indented(act)}\n"
        code += "def look(path):\n    if path == '/act':\n        sys.path_importer_cache = None\n"
        code += "        act()\n    return sys.path_importer_cache is not None\n"
        acts = site(tmp_path, "acts", code)
        looks = site(tmp_path, "looks", LOOKS, "env_var OF_LOOKS yes")
        (tmp_path / "looks" / "found_later.py").write_text("VALUE = 7")
        return serve(acts, looks, slack=Slack(descriptors=8))

    return start


def _indented(text: str) -> str:
    return "\n".join(f"    {line}" for line in text.strip().splitlines())


@pytest.mark.in_process("a worker has one application, and nothing to isolate")
@pytest.mark.parametrize("act", ACTS.values(), ids=ACTS)
def test_what_one_takes_away_in_a_request_others_have(pair, act: str) -> None:  # type: ignore[no-untyped-def]
    server = pair(act)
    server.allow_log(".*")
    before = ask(server, 1)
    assert not before.startswith("failed"), before
    told = len(server.log.find("^looked at$"))
    server.request("GET", "/act")
    wait_for(lambda: server.get("/").text == "True", "what is missing to be put back", 5)
    assert ask(server, 1) == before
    wait_for(lambda: len(server.log.find("^looked at$")) > told, "its record")


def test_a_replaced_environment_is_the_applications(serve: Serve, tmp_path: Path) -> None:
    acts = """
        os.environ = {"ONLY": "this"}
        def look(path): return os.environ.get("ONLY"), "HOME" in os.environ, os.getenv("ONLY")
    """
    looks = "def look(path): return os.environ.get('ONLY'), os.environ['OF_LOOKS']"
    server = serve(
        site(tmp_path, "acts", acts), site(tmp_path, "looks", looks, "env_var OF_LOOKS yes")
    )
    assert ask(server, 0) == str(("this", False, "this"))
    assert ask(server, 1) == str((None, "yes"))


@pytest.mark.in_process("a worker has one application, and nothing to isolate")
def test_open_is_open(serve: Serve, tmp_path: Path) -> None:
    code = """
        import builtins, io, traceback
        def look(path):
            reader, writer = os.pipe()
            with open(writer, "wb") as file:
                file.write(b"through a pipe")
            with os.fdopen(reader, "rb") as file:
                text = file.read()
            try:
                os.close(writer)
            except OSError as error:
                closed = error.errno
            kept = open(2, "w", closefd=False)
            own = open(2, "w")
            try:
                open("/does/not/exist")
            except FileNotFoundError:
                frames = traceback.format_exc().count("File ")
            return (text, closed, kept.fileno(), own.fileno() > 2, frames, io.open is builtins.open)
    """
    server = serve(site(tmp_path, "acts", code), slack=Slack(descriptors=2))
    assert ask(server, 0) == str((b"through a pipe", 9, 2, True, 1, True))


@pytest.mark.in_process("a worker has one application, and nothing to isolate")
def test_lists_of_the_server_are_not_found_while_an_application_is_freed(
    serve: Serve, tmp_path: Path
) -> None:
    code = """
        import gc
        class Hides(int):
            # Has the hash of an application's number, so a look-up of that number compares them.
            __hash__ = int.__hash__
            def __eq__(self, other):
                for each in gc.get_objects():
                    if type(each) is list and any(item is last for item in each):
                        each.clear()
                return False
        held = [threading.local() for _ in range(50)]
        last = threading.local()
        last.value = "kept"
        for by_app in gc.get_referents(last):
            if type(by_app) is dict:
                for number in list(by_app):
                    del by_app[number]
                    by_app[Hides(number)] = None
        def look(path): return gc.get_referents(last) != []
    """
    sites = [site(tmp_path, "acts", code), site(tmp_path, "looks", LOOKS, "env_var OF_LOOKS yes")]
    server = serve(*sites, slack=Slack(descriptors=8))
    server.allow_log("^looked at$")
    for _ in range(3):
        assert ask(server, 0) == "True"
        assert server.force(*sites).status == 200
    server.stop()
