"""What an application sets in the standard library is its own, or changes nothing.

One application acts while it is loaded, and the other looks whether anything is different for it.
"""

from __future__ import annotations

import re
import textwrap
from pathlib import Path

import pytest

from harness.acting import ask, site
from harness.health import Slack
from harness.plugin import Serve
from harness.server import Server
from harness.waiting import wait_for


@pytest.fixture
def pair(serve: Serve, tmp_path: Path):  # type: ignore[no-untyped-def]
    """Serves an application that acts, then one that looks."""

    def start(acts: str, looks: str, **options: object) -> Server:
        sites = site(tmp_path, "acts", acts), site(tmp_path, "looks", looks)
        return serve(*sites, slack=Slack(python_threads=2, children=2, descriptors=8), **options)

    return start


def said(server: Server, pattern: str, app: str) -> None:
    """Waits for a record of an app."""

    def found() -> bool:
        records = server.log.find(pattern)
        return any(record.fields.get("app") == app for record in records)

    wait_for(found, f"a record like {pattern!r} of {app}")


# What every one of these is read from

OWN = {
    "threading.excepthook": "lambda args: None",
    "warnings.showwarning": "lambda *args: None",
    "logging.lastResort": "None",
    "sys.excepthook": "lambda *args: None",
    "sys.stdout": "__import__('io').StringIO()",
}


@pytest.mark.smoke
@pytest.mark.parametrize("attribute", OWN)
def test_an_attribute_is_each_applications_own_however_often_a_line_has_run(  # type: ignore[no-untyped-def]
    pair, attribute: str
) -> None:
    """CPython makes a line that runs often faster, past what the class of a module says."""
    module = attribute.partition(".")[0]
    server = pair(
        f"import {module}\n"
        f"{attribute} = value = {OWN[attribute]}\n"
        f"def look(path): return all([{attribute} is value for _ in range(1000)])",
        f"import {module}\n"
        f"before = {attribute}\n"
        f"def look(path): return all([{attribute} is before for _ in range(1000)])",
    )
    for _ in range(3):
        assert ask(server, 0) == "True"
        assert ask(server, 1) == "True"


# Standard streams

STREAMS = {
    "closed": "sys.stdout.close(); sys.stderr.close()",
    "detached": "sys.stdout.detach(); sys.stderr.detach()",
    "none": "sys.stdout = sys.stderr = None",
    "replaced": "import io; sys.stdout = sys.stderr = io.StringIO()",
    "deleted": "del sys.stdout",
    "its descriptor closed": "os.close(sys.stdout.fileno()); os.close(sys.stderr.fileno())",
    "its file closed": "os.fdopen(sys.stdout.fileno(), 'w').close()",
    "hostile": "class S:\n    def write(self, x): raise SystemExit\nsys.stdout = sys.stderr = S()",
    "wrapped": "sys.stdout = sys.stderr = type('W', (), {'write': lambda s, x: 1 / 0})()",
}


@pytest.mark.in_process("a worker has one application, and nothing to isolate")
@pytest.mark.parametrize("act", STREAMS.values(), ids=STREAMS)
def test_what_becomes_of_an_applications_streams_harms_no_other(pair, act: str) -> None:  # type: ignore[no-untyped-def]
    server = pair(
        f"{act}\ndef look(path): return 'served'",
        """
        def look(path):
            print("looks at", path)
            print("complains", file=sys.stderr)
            logging.getLogger("looks").warning("warns")
            return sys.stdout.fileno() > 2
        """,
    )
    server.expect_log("^complains$")
    assert ask(server, 0) == "served"
    assert ask(server, 1, "/x") == "True"
    said(server, "^looks at /x$", "looks:app")
    said(server, "^warns$", "looks:app")


def test_print_goes_where_the_application_has_pointed_it(pair) -> None:  # type: ignore[no-untyped-def]
    server = pair(
        """
        import contextlib, io
        def look(path):
            with contextlib.redirect_stdout(io.StringIO()) as out:
                print("captured")
            print("not captured")
            return out.getvalue()
        """,
        "def look(path): print('other')",
    )
    assert ask(server, 0) == "captured\n"
    ask(server, 1)
    said(server, "^not captured$", "acts:app")
    said(server, "^other$", "looks:app")
    assert not server.log.find("^captured$")


def test_a_destructor_that_prints_inside_of_print_hangs_nobody(pair) -> None:  # type: ignore[no-untyped-def]
    server = pair(
        """
        import gc, importlib, json
        class Session:
            def __init__(self):
                self.me = self
            def __del__(self):
                print("session closed")
                logging.getLogger("session").warning("closed")
                importlib.import_module("json.tool")
                threading.Thread(target=print, args=("thread of a destructor",)).start()
        def look(path):
            before = gc.get_threshold()
            for number in range(60):
                Session()
                gc.set_threshold(1)
                print("row", number)
                print("row", number, file=sys.stderr)
                logging.getLogger("rows").warning("row")
                gc.set_threshold(*before)
            return "done"
        """,
        "def look(path):\n    print('other')\n    return 'answers'",
    )
    server.allow_log("^row")
    for _ in range(3):
        assert ask(server, 0) == "done"
        assert ask(server, 1) == "answers"
    said(server, "^other$", "looks:app")


# Records that a client could forge


@pytest.mark.parametrize(
    "raises", ["ValueError(path)", "KeyError(path)", "ValueError('x', path)", "OSError(path[1:])"]
)
def test_no_client_forges_records(serve: Serve, tmp_path: Path, raises: str) -> None:
    code = f"""
        def look(path):
            print("got", path)
            logging.getLogger("x").warning("not found: %s", path)
            raise {raises}
    """
    file = tmp_path / "console"
    log = f"log console {{\n output file {file}\n format console\n}}"
    server = serve(site(tmp_path, "acts", code), options=[log])
    server.allow_log(".")
    forged = "2026/11/26%2021:00:00.000%09INFO%09forged"
    evil = f"/%0A{forged}%0D%0A%7B%22level%22:%22error%22%7D%1b[2J%C2%9B%0D{forged}%C2%85{forged}"
    assert server.get(evil).status == 500
    wait_for(lambda: "Error" in file.read_text(), "the traceback")
    text = file.read_bytes().decode()
    lines = re.split(r"[\n\r\x85]", text)
    assert not [line for line in lines if line.startswith(("2026/11/26 21", '{"level":"error"}'))]
    # Caddy colours the levels.
    text = re.sub(r"\x1b\[[0-9]*m", "", text)
    assert not [c for c in text if (ord(c) < 32 and c not in "\n\t") or 0x7F <= ord(c) < 0xA0]


# logging


LOGS = """
    def look(path):
        logging.getLogger("shop").warning("warns")
        logging.getLogger("shop").info("informs")
        shop = logging.getLogger("shop")
        return [logging.root.level, len(logging.root.handlers), shop.disabled, shop.level,
                len(shop.filters), type(logging.getLogger("new of looks")) is logging.Logger,
                logging.root.manager.disable, logging.getLoggerClass() is logging.Logger,
                logging.getLogRecordFactory() is logging.LogRecord]
"""
FRESH = "[30, 0, False, 0, 0, True, 0, True, True]"
LOGGING = {
    "levels": "logging.root.setLevel(1); logging.getLogger('shop').setLevel(50)",
    "handlers": "logging.root.addHandler(None); logging.getLogger('shop').addHandler(None)",
    "filters": "logging.getLogger('shop').addFilter(lambda record: False)",
    "disabled": "logging.disable(logging.CRITICAL); logging.getLogger('shop').disabled = True",
    "configured": "import logging.config as config; config.dictConfig({'version': 1})",
    "class": """
class Mine(logging.Logger):
    pass
logging.setLoggerClass(Mine)
assert type(logging.getLogger('mine')) is Mine
assert logging.getLogger('mine').name == 'mine'""",
    "factory": "logging.setLogRecordFactory(lambda *args, **kwargs: 1 / 0)",
    "last resort": "logging.lastResort = None",
    "shutdown": "logging.shutdown()",
}


@pytest.mark.parametrize("act", LOGGING.values(), ids=LOGGING)
def test_what_an_application_configures_in_logging_is_its_own(pair, act: str) -> None:  # type: ignore[no-untyped-def]
    server = pair(f"{act}\ndef look(path): return 'served'", LOGS)
    assert ask(server, 0) == "served"
    assert ask(server, 1) == FRESH
    said(server, "^warns$", "looks:app")
    assert not server.log.find("^informs$")


def test_handlers_go_with_their_application(serve: Serve, tmp_path: Path) -> None:
    code = """
        log = logging.getLogger("shop")
        log.setLevel(logging.INFO)
        class Noting(logging.StreamHandler):
            def close(self):
                print("closed")
                super().close()
        log.addHandler(Noting())
        def look(path):
            log.info("hello")
            return len(log.handlers)
    """
    server = serve(site(tmp_path, "acts", code))
    for count in range(3):
        assert ask(server, 0) == "1"
        assert server.load(site(tmp_path, "acts", code, f"env_var COUNT {count}")).status == 200
    wait_for(lambda: len(server.log.find("^closed$")) == 3, "handlers to be closed")
    assert len(server.log.find("^hello$")) == 3


# Hooks and patches

PATCHES = {
    "call handlers": """
original = logging.Logger.callHandlers
def patched(self, record):
    seen.append(record.getMessage())
    return original(self, record)
logging.Logger.callHandlers = patched""",
    "handle": """
from unittest import mock
original = logging.Handler.handle
logging.Handler.handle = lambda self, record: seen.append(record.getMessage())""",
    "threads": """
run = threading.Thread.run
def patched(self):
    seen.append("a thread")
    run(self)
threading.Thread.run = patched""",
    "start": """
start = threading.Thread.__dict__["start"]
def patched(self):
    seen.append("a thread")
    start.__get__(self)()
threading.Thread.start = patched""",
    "hooks": """
def hook(*args):
    seen.append(args)
threading.excepthook = sys.excepthook = sys.unraisablehook = sys.displayhook = hook
warnings.showwarning = hook""",
    "trace": """
threading.settrace(lambda *args: seen.append(args))
threading.setprofile(lambda *args: seen.append(args))""",
    "audit": """
sys.addaudithook(lambda event, args: seen.append(event) if event == "os.listdir" else None)""",
    "processes": """
import subprocess
init = subprocess.Popen.__init__
def patched(self, *args, **kwargs):
    seen.append(args)
    init(self, *args, **kwargs)
subprocess.Popen.__init__ = patched""",
    "clients": """
import http.client
def patched(self, *args, **kwargs):
    seen.append(args)
    raise OSError("not today")
http.client.HTTPConnection.connect = http.client.HTTPConnection.request = patched""",
    "functions": """
import json, random
def patched(*args, **kwargs):
    seen.append(args)
    return "patched"
json.dumps = random.choice = os.getcwd = os.listdir = patched""",
    "builtins": """
import builtins
real = builtins.open
def patched(*args, **kwargs):
    seen.append(args)
    return real(*args, **kwargs)
builtins.open = patched""",
}
DOES = """
    import http.client, json, random, subprocess
    def do():
        logging.getLogger("shop").error("secret")
        warnings.warn("secret warning")
        thread = threading.Thread(target=lambda: {}["secret"])
        thread.start()
        thread.join()
        subprocess.run(["true"])
        try:
            http.client.HTTPConnection("127.0.0.1", 9).request("GET", "/secret")
        except ConnectionRefusedError:
            pass
        open(os.devnull).close()
        answers = json.dumps(["secret"]), random.choice(["secret"])
        return *answers, os.getcwd(), len(os.listdir("/")) > 0
"""


@pytest.mark.in_process("a worker has one application, and nothing to isolate")
@pytest.mark.parametrize("act", PATCHES.values(), ids=PATCHES)
def test_what_an_application_patches_hears_of_no_other(pair, act: str) -> None:  # type: ignore[no-untyped-def]
    looks = DOES + "    def look(path): return do()"
    acts = f"seen = []\n{act}\n{textwrap.dedent(DOES)}\n" + textwrap.dedent(
        """
        def look(path):
            if path == "/act":
                try:
                    do()
                except Exception:
                    pass
            return len(seen)
        """
    )
    server = pair(acts, looks)
    server.allow_log("secret")
    before = ask(server, 0)
    answer = ask(server, 1)
    assert answer == str(('["secret"]', "secret", str(server.cwd), True))
    assert ask(server, 0) == before
    assert int(ask(server, 0, "/act")) > int(before)


def test_repeated_loads_of_a_patch_do_not_pile_up(serve: Serve, tmp_path: Path) -> None:
    code = """
        calls = []
        for way in range(3):
            def patched(self, record, original=logging.Logger.callHandlers):
                calls.append(record)
                return original(self, record)
            logging.Logger.callHandlers = patched
        def look(path):
            del calls[:]
            logging.getLogger("x").warning("logged")
            return len(calls)
    """
    other = "def look(path): return logging.Logger.callHandlers.__qualname__"
    acts, looks = site(tmp_path, "acts", code), site(tmp_path, "looks", other)
    server = serve(acts, looks)
    for _ in range(4):
        assert ask(server, 0) == "3"
        assert ask(server, 1) == "Logger.callHandlers"
        assert server.force(acts, looks).status == 200
    assert server.load(looks, looks).status == 200
    assert ask(server, 0) == "Logger.callHandlers"
