"""The three sites of soak.py, and the Caddy that serves them."""

from __future__ import annotations

import http.client
import json
import os
import shutil
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from processes import WORKER, children
from servers import Server, free_ports

SOURCES = Path(__file__).resolve().parent / "apps" / "soak"
WORKERS = 4  # of each site
PATIENCE = 120.0
POLL = 0.005


class Stuck(Exception):
    """Something has not happened in time."""


def wait_for(condition: Callable[[], Any], what: str, patience: float = PATIENCE) -> float:
    """Returns the seconds until the condition was true."""
    begin = time.monotonic()
    while not condition():
        if time.monotonic() - begin > patience:
            raise Stuck(f"{what}: not within {patience:.0f} s")
        time.sleep(POLL)
    return time.monotonic() - begin


class Site:
    """One application. Its version is a sum: autoreload watches one of the two files."""

    def __init__(self, name: str, folder: Path, port: int, options: str = "") -> None:
        self.name, self.port, self.options = name, port, options
        self.folder = folder / name
        shutil.copytree(SOURCES / name, self.folder)
        self.journal = self.folder / "journal"
        self.journal.touch()
        self._read = 0
        self._edits = self._deploys = 0
        self.floor = 0  # no request that begins now may get older code
        self._write()

    @property
    def newest(self) -> int:
        """The version in the files."""
        return self._edits + self._deploys

    def edit(self) -> None:
        self._edits += 1
        self._write()

    def deploy(self) -> None:
        """Like edit, but autoreload does not notice."""
        self._deploys += 1
        self._put("deployed.py", f"BASE = {self._deploys}\n")

    def damage(self) -> None:
        self._put("version.py", "1 / 0\n")

    def repair(self) -> None:
        self.edit()

    def _write(self) -> None:
        self._put("deployed.py", f"BASE = {self._deploys}\n")
        self._put("version.py", f"from deployed import BASE\n\nVERSION = BASE + {self._edits}\n")

    def _put(self, name: str, text: str) -> None:
        path = self.folder / name
        if path.exists() and path.read_text() == text:
            return
        new = path.with_suffix(".new")
        new.write_text(text)
        os.replace(new, path)

    def begun(self) -> Counter[str]:
        """Returns the tokens of requests that the application has begun since the last call."""
        with self.journal.open() as file:
            file.seek(self._read)
            text = file.read()
        whole = text.rpartition("\n")[0]
        self._read += len(whole) + bool(whole)
        return Counter(whole.splitlines())

    def block(self, venv: Path) -> str:
        return f"""http://127.0.0.1:{self.port} {{
    bind 127.0.0.1
    python main:app {{
        working_dir {self.folder}
        python_path {SOURCES / "shared"}
        venv {venv}
        workers {WORKERS}
        threads 8
        env_var JOURNAL {self.journal}
        autoreload {{
            debounce 50ms
            exclude deployed.py
            on_error keep
            grace 1s
        }}
        {self.options}
    }}
}}
"""


class Log:
    """Caddy's log, read as it grows."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._read = 0

    def new(self) -> list[dict[str, Any]]:
        """Returns the records since the last call. A full disk leaves parts of records."""
        with self.path.open("rb") as file:
            file.seek(self._read)
            data = file.read()
        whole = data[: data.rfind(b"\n") + 1]
        self._read += len(whole)
        records = []
        for line in whole.splitlines():
            with suppress(ValueError):
                record = json.loads(line.strip(b"\0"))
                if isinstance(record, dict):
                    records.append(record)
        return records


class Stand:
    """A Caddy with the three sites. The log has a small disk of its own if we may mount one."""

    def __init__(self, caddy: Path, venv: Path, folder: Path, users: int) -> None:
        self.disk = folder / "disk"
        self.server: Server | None = None
        self.disk.mkdir()
        mount = ["mount", "-t", "tmpfs", "-o", "size=64m", "tmpfs", str(self.disk)]
        self.is_mounted = subprocess.run(mount, stderr=subprocess.DEVNULL).returncode == 0
        try:
            self._start(caddy, venv, folder, users)
        except BaseException:
            self.show_log()
            self.close()
            raise

    def _start(self, caddy: Path, venv: Path, folder: Path, users: int) -> None:
        self.admin, *ports = free_ports(4)
        # A stuck loop or a thread that holds Python's lock ends after kill_stuck.
        self.shop = Site("shop", folder, ports[0], "kill_stuck 5s")
        self.chat = Site("chat", folder, ports[1], "kill_stuck 5s")
        self.page = Site("page", folder, ports[2], "max_memory 200MiB")
        self.sites = (self.shop, self.chat, self.page)
        prepare = [venv / "bin" / "python", "prepare.py", str(users)]
        subprocess.run(prepare, cwd=self.shop.folder, check=True)
        self.config = f"""{{
    admin 127.0.0.1:{self.admin}
    persist_config off
    log {{
        output file {self.disk / "log"} {{
            roll_disabled
        }}
    }}
}}
""" + "".join(site.block(venv) for site in self.sites)
        (folder / "Caddyfile").write_text(self.config)
        command = [str(caddy.resolve()), "run", "--config", str(folder / "Caddyfile")]
        self.output = folder / "output"
        self.server = Server("caddy", command, folder, os.environ, self.output)
        self.log = Log(self.disk / "log")
        for site in self.sites:
            wait_for(lambda site=site: self._answers(site), f"an answer of {site.name}")

    def _answers(self, site: Site) -> bool:
        self.server.check_running()
        with suppress(OSError, http.client.HTTPException):
            return self.post(site, "/echo") == 200
        return False

    def post(self, site: Site, path: str, timeout: float = PATIENCE) -> int:
        """Returns the status of a request."""
        connection = http.client.HTTPConnection("127.0.0.1", site.port, timeout=timeout)
        try:
            connection.request("POST", path, b"")
            response = connection.getresponse()
            response.read()
            return response.status
        finally:
            connection.close()

    def load_by_force(self) -> int:
        """Does what `caddy reload --force` does; returns the status."""
        connection = http.client.HTTPConnection("127.0.0.1", self.admin, timeout=PATIENCE)
        headers = {"Content-Type": "text/caddyfile", "Cache-Control": "must-revalidate"}
        try:
            connection.request("POST", "/load", self.config, headers)
            response = connection.getresponse()
            response.read()
            return response.status
        finally:
            connection.close()

    def workers(self) -> list[int]:
        return list(children(self.server.pid, WORKER))

    def await_rest(self) -> None:
        """Waits until each site has its workers again, and no others."""
        count = WORKERS * len(self.sites)
        wait_for(lambda: len(self.workers()) == count, f"{count} workers")

    def show_log(self) -> None:
        with suppress(FileNotFoundError):
            print((self.disk / "log").read_text()[-5000:], file=sys.stderr)

    def close(self) -> None:
        if self.server:
            self.server.stop()
        if self.is_mounted:
            subprocess.run(["umount", "-l", str(self.disk)], check=True)
