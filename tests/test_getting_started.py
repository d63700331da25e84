"""What docs/getting-started.md tells its readers to do, done."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from harness import http1
from harness.documents import DOCS, blocks, section
from harness.ports import Ports
from harness.python_server import PythonServer, problems_in
from harness.server import environment
from harness.settings import BINARY
from harness.waiting import wait_for

PAGE = DOCS / "getting-started.md"
DEADLINE = 30.0

Get = Callable[[str], str | None]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The reader's folder, with all files of the page."""
    for block in blocks(PAGE):
        if block.language == "python":
            file = tmp_path / block.text.partition("\n")[0].removeprefix("# ")
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(block.text)
    return tmp_path


@pytest.fixture
def get(folder: Path) -> Iterator[Get]:
    """Serves the page's Caddyfile on a free port, and asks for a host as its `curl` does."""
    ports = Ports()
    port = ports.take()
    (caddyfile,) = [block.text for block in blocks(PAGE) if block.language == "caddyfile"]
    options = "{\n\tadmin off\n\tdefault_bind 127.0.0.1\n}\n"
    (folder / "Caddyfile").write_text(options + caddyfile.replace("9080", str(port)))
    log = folder / "log"
    with log.open("wb") as output:
        server = subprocess.Popen(
            [BINARY, "run"], cwd=folder, env=environment(folder / "home", {}), stderr=output
        )

    def ask(host: str) -> str | None:
        try:
            response = http1.request(port, "GET", "/", headers=[("Host", host)])
        except ConnectionRefusedError:
            return None
        return response.text if response.status == 200 else str(response.status)

    try:
        wait_for(lambda: ask("green.localhost") == "404", log.read_text, DEADLINE)
        yield ask
    finally:
        server.terminate()
        server.wait(DEADLINE)
        ports.release()
    assert problems_in(log.read_text()) == []


def hosts(heading: str) -> list[str]:
    return re.findall(r'^ {4}curl -H "Host: (.+)" localhost:9080$', section(PAGE, heading), re.M)


def answers(heading: str) -> list[str]:
    (sentence,) = re.findall(r"^The answers? (?:is|are) (.+?)[,.:]", section(PAGE, heading), re.M)
    return [answer + "\n" for answer in re.findall(r"`(.+?)`", sentence)]


def test_one_application_is_served_without_a_caddyfile(folder: Path) -> None:
    with PythonServer(folder, "main:app", cwd=folder) as server:
        (answer,) = answers("## 2. Serve one application")
        assert http1.request(server.port, "GET", "/").text == answer
        server.stop()


def test_tenants_are_served_a_third_is_added_and_an_edit_shows_up(folder: Path, get: Get) -> None:
    tenants = hosts("## 3. Serve two tenants")
    assert len(tenants) == 2
    assert [get(host) for host in tenants] == answers("## 3. Serve two tenants")

    (third,) = hosts("## 4. Add a third")
    copies = re.findall(r"^ {4}(cp -r \S+ \S+)$", section(PAGE, "## 4. Add a third"), re.M)
    assert len(copies) == 1
    assert get(third) == "404"
    subprocess.run(copies[0].split(), cwd=folder, check=True)
    assert get(third) == answers("## 4. Add a third")[0]

    before, after = re.findall(r"^Change `(\w+)` to `(\w+)`", section(PAGE, "## 5. Edit"), re.M)[0]
    main = folder / "sites/red/main.py"
    main.write_text(main.read_text().replace(before, after))
    (edited,) = hosts("## 5. Edit")
    wait_for(lambda: get(edited) == answers("## 5. Edit")[0], "the edit shows up", DEADLINE)
