"""A server in the background: `start`, `reload` and `stop` of an installed command."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Sequence
from pathlib import Path

from harness import http1
from harness.ports import Ports, await_reloaded
from harness.server import environment
from harness.venvs import SITE
from harness.waiting import wait_for


def start_reload_and_stop(command: Sequence[str], directory: Path) -> None:
    """Lets the command serve one app, then another, then none."""
    ports = Ports()
    admin, port = ports.take(), ports.take()
    caddyfile = directory / "Caddyfile"
    env = environment(directory / "home", {})

    def configure(app: str) -> None:
        options = f"admin 127.0.0.1:{admin}\n persist_config off\n default_bind 127.0.0.1"
        site = f"http://:{port} {{\n python {app} {{\n working_dir {SITE}\n }}\n}}"
        caddyfile.write_text(f"{{\n {options}\n}}\n{site}\n")

    def run(*arguments: str) -> None:
        subprocess.run(
            [*command, *arguments],
            env=env,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            check=True,
            timeout=60,
        )

    configure("main:asgi")
    pid_file = directory / "pid"
    arguments = ["--config", str(caddyfile), "--adapter", "caddyfile"]
    run("start", *arguments, "--pidfile", str(pid_file))
    pid = int(pid_file.read_text())
    try:
        assert http1.request(port, "GET", "/").text == "from ASGI"
        configure("main:wsgi")
        run("reload", *arguments)
        await_reloaded((admin, port))
        assert json.loads(http1.request(port, "GET", "/x").body)["path"] == "/x"
        run("stop", "--address", f"127.0.0.1:{admin}")
        wait_for(lambda: not Path(f"/proc/{pid}/exe").exists(), "the end of the server")
    finally:
        ports.release()
        if Path(f"/proc/{pid}/exe").exists():
            os.kill(pid, signal.SIGKILL)
