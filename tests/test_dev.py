"""The server for development: `dev`."""

from __future__ import annotations

import re
import signal
import socket
import ssl
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

from harness import http1
from harness.ports import Ports
from harness.server import environment
from harness.settings import BINARY
from harness.waiting import wait_for

APP = """
import logging

logging.basicConfig(level="INFO", format="%(message)s")
VERSION = "one"


def app(environ, start_response):
    print("planted: printed", flush=True)
    logging.getLogger("shop").warning("planted: logged")
    if environ["PATH_INFO"] == "/fails":
        raise LookupError("planted: failed")
    start_response("404 Not Found" if environ["PATH_INFO"] == "/none" else "200 OK", [])
    return [VERSION.encode()]
"""


class Dev:
    """A running server, and what a person has seen of it."""

    def __init__(self, folder: Path, *arguments: str) -> None:
        self.folder = folder
        self._output = folder.parent / "seen"
        with self._output.open("wb") as output:
            self.process = subprocess.Popen(
                [BINARY, "dev", *arguments],
                cwd=folder,
                env=environment(folder.parent / "home", {"VIRTUAL_ENV": sys.prefix}),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
            )

    @property
    def seen(self) -> str:
        return self._output.read_text()

    def wait(self, pattern: str) -> None:
        found = re.compile(pattern, re.MULTILINE)
        wait_for(lambda: found.search(self.seen), lambda: f"{pattern}\n{self.seen}", 30)

    def write(self, code: str) -> None:
        new = self.folder / "main.py.new"
        new.write_text(code)
        new.rename(self.folder / "main.py")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "site"
    folder.mkdir()
    (folder / "main.py").write_text(APP)
    return folder


@pytest.fixture
def port() -> Iterator[int]:
    ports = Ports()
    yield ports.take()
    ports.release()


@contextmanager
def serving(folder: Path, *arguments: str) -> Iterator[Dev]:
    dev = Dev(folder, *arguments)
    try:
        dev.wait("Ctrl-C ends it")
        yield dev
        dev.process.send_signal(signal.SIGINT)
        assert dev.process.wait(15) == 0
    finally:
        dev.process.kill()
        dev.process.wait()


def fail(folder: Path, arguments: Sequence[str]) -> str:
    dev = Dev(folder, *arguments)
    assert dev.process.wait(30) == 1
    return dev.seen


@pytest.mark.not_emulated("serves with the environment of pytest")
@pytest.mark.smoke
def test_a_person_sees_the_address_requests_output_and_errors_and_nothing_else(
    folder: Path, port: int
) -> None:
    with serving(folder, "main:app", "--listen", f"127.0.0.1:{port}") as dev:
        for target in ("/", "/none?x=1", "/fails"):
            http1.request(port, "GET", target)
        dev.wait("^LookupError")
        dev.wait("GET +/fails")
    expected = [
        rf"main:app \(WSGI\) is on http://127\.0\.0\.1:{port} with Python [0-9.a-z]+, and is",
        r"\d\d:\d\d:\d\d  200  GET     /  [0-9.]+(µ|m)s, 3 B",
        r"\d\d:\d\d:\d\d  404  GET     /none\?x=1  [0-9.]+(µ|m)s, 3 B",
        r"\d\d:\d\d:\d\d  500  GET     /fails  [0-9.]+(µ|m)s, 0 B",
        "planted: printed",
        "WARN shop: planted: logged",
        r"exception in WSGI application \(GET /fails\)",
        r"Traceback \(most recent call last\):",
        rf'  File "{re.escape(str(folder))}/main\.py", line \d+, in app',
        r'    raise LookupError\("planted: failed"\)',
        "LookupError: planted: failed",
    ]
    for pattern in expected:
        assert re.search(f"^{pattern}", dev.seen, re.MULTILINE), (pattern, dev.seen)
    strange = [
        line
        for line in dev.seen.splitlines()
        if not any(re.match(pattern, line) for pattern in expected)
    ]
    assert strange == []


def test_a_person_sees_reloads_and_why_one_fails(folder: Path, port: int) -> None:
    with serving(folder, "main:app", "--listen", f"127.0.0.1:{port}") as dev:
        dev.write(APP.replace('"one"', '"two"'))
        dev.wait(r"^python app reloaded \(main\.py\)$")
        assert http1.request(port, "GET", "/").text == "two"
        dev.write("import nowhere\n")
        dev.wait("^ModuleNotFoundError: No module named 'nowhere'$")
        page = http1.request(port, "GET", "/", [("Accept", "text/html")])
        assert page.status == 500
        assert "nowhere" in page.text
        dev.write(APP)
        wait_for(lambda: http1.request(port, "GET", "/").text == "one", "the mended code", 30)
    assert "importlib" not in dev.seen
    assert "the log has the reason" not in dev.seen


def test_frames_of_packages_are_one_line(folder: Path, port: int) -> None:
    packages = folder / "lib" / "site-packages"
    packages.mkdir(parents=True)
    lines = [f"def call{n}(app):\n    return call{n + 1}(app)\n" for n in range(4)]
    (packages / "framework.py").write_text("".join([*lines, "def call4(app):\n    return app()\n"]))
    (folder / "main.py").write_text(
        f"import sys\nsys.path.insert(0, {str(packages)!r})\nfrom framework import call0\n\n"
        "def fails():\n    raise LookupError('planted')\n\n"
        "def app(environ, start_response):\n    call0(fails)\n"
    )
    with serving(folder, "main:app", "--listen", f"127.0.0.1:{port}") as dev:
        http1.request(port, "GET", "/")
        dev.wait("^LookupError: planted$")
    assert re.search(r"^  … 5 frames of installed packages$", dev.seen, re.MULTILINE)
    assert "in fails" in dev.seen
    assert "framework.py" not in dev.seen


def test_https_on_demand(folder: Path, port: int) -> None:
    with serving(folder, "--https", "main:app", "--listen", f"127.0.0.1:{port}") as dev:
        dev.wait(rf"^main:app \(WSGI\) is on https://localhost:{port} with Python ")
        dev.wait(r"^If the browser warns of the certificate, let it trust .* \(curl: --cacert\)\.$")

        def answer() -> bool:
            try:
                host = [("Host", f"localhost:{port}")]
                return http1.request(port, "GET", "/", host, tls=True).text == "one"
            except OSError:  # there is no certificate yet
                return False

        wait_for(answer, "an answer over HTTPS", 30)
        (root,) = re.findall(r"let it trust (.*) \(curl", dev.seen)
        client = ssl.create_default_context(cafile=root)
        with socket.create_connection(("127.0.0.1", port)) as plain:
            client.wrap_socket(plain, server_hostname="localhost").close()
    assert "warn" not in dev.seen.replace("warns of", "")


def test_a_module_that_is_not_there_suggests_the_one_that_was_meant(folder: Path) -> None:
    said = fail(folder, ["mian:app"])
    assert "mian:app: there is no module 'mian'; did you mean 'main'?" in said
    assert "Traceback" not in said
    said = fail(folder, ["main:ap"])
    assert f"main:ap: there is no 'ap' in {folder}/main.py; did you mean 'app'?" in said


def test_debug_shows_the_records_of_caddy(folder: Path, port: int) -> None:
    with serving(folder, "--debug", "main:app", "--listen", f"127.0.0.1:{port}") as dev:
        dev.wait('"msg":"server running"')
        dev.wait('"level":"debug"')


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "which application?"),
        (["main:app", "--app", "main:app"], "the application is given twice"),
        (["main:app", "--https", "--listen", "9443"], "--https needs a port in --listen"),
    ],
)
def test_mistakes(folder: Path, arguments: list[str], said: str) -> None:
    assert said in fail(folder, arguments)
