"""The compared apps, servers and settings; this module starts nothing.

Each server has one worker and its documented production settings. All of them answer every request
with the same 13 bytes.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

APPS_DIR = Path(__file__).resolve().parent / "apps"
EXPECTED_BODY = b"Hello, World!"

RESPOND = "caddy respond"
PLUGIN = "caddysnake"
GRANIAN = "granian"
UVICORN = "uvicorn"
GUNICORN = "gunicorn"


@dataclass(frozen=True, slots=True)
class App:
    """An app in `apps/`; the variable in its module is always called `app`."""

    label: str
    interface: str  # "wsgi" or "asgi"
    module: str
    extra: bool = False  # measured with --extra only

    @property
    def servers(self) -> tuple[str, ...]:
        """The servers for this app, in the order of the table."""
        return (PLUGIN, GRANIAN, GUNICORN if self.interface == "wsgi" else UVICORN)


@dataclass(frozen=True, slots=True)
class Target:
    """A row of the table. `app` is None for Caddy's own `respond`."""

    server: str
    app: App | None

    @property
    def name(self) -> str:
        return f"{self.server} {self.app.label}" if self.app else self.server

    @property
    def proxied(self) -> bool:
        return self.server not in (RESPOND, PLUGIN)


# Module names are distinct, as the apps of one process may share sys.modules.
APPS = (
    App("WSGI", "wsgi", "hello_wsgi"),
    App("ASGI", "asgi", "hello_asgi"),
    App("Flask", "wsgi", "hello_flask"),
    App("FastAPI", "asgi", "hello_fastapi"),
    App("WSGI stream", "wsgi", "stream_wsgi", extra=True),
    App("ASGI stream", "asgi", "stream_asgi", extra=True),
    App("WSGI slow", "wsgi", "slow_wsgi", extra=True),
    App("ASGI slow", "asgi", "slow_asgi", extra=True),
)
BASELINE = Target(RESPOND, None)


def select(pattern: str, *, extra: bool, plugin: bool) -> list[Target]:
    """Returns the baseline, then every target whose name matches `pattern`, grouped by server."""
    apps = [app for app in APPS if extra or not app.extra]
    rows = [
        Target(server, app)
        for server in (PLUGIN, GRANIAN, UVICORN, GUNICORN)
        for app in apps
        if server in app.servers and (plugin or server != PLUGIN)
    ]
    return [BASELINE, *(row for row in rows if re.search(pattern, row.name, re.IGNORECASE))]


def backend_command(target: Target, port: int) -> list[str]:
    """Returns the command that serves a proxied target on a loopback port; run it in APPS_DIR."""
    app = target.app
    assert app is not None
    # fmt: off
    if target.server == GRANIAN:
        command = ["granian", "--interface", app.interface, "--host", "127.0.0.1",
                   "--port", str(port), "--workers", "1", "--no-ws", "--log-level", "error"]
    elif target.server == UVICORN:
        command = ["uvicorn", "--host", "127.0.0.1", "--port", str(port), "--workers", "1",
                   "--no-access-log", "--log-level", "error"]
    else:
        # Sync workers can't keep the proxy's connections alive and are slower. With fewer threads
        # than the plugin's default, requests on some kept connections starve for seconds.
        command = ["gunicorn", "--bind", f"127.0.0.1:{port}", "--workers", "1",
                   "--worker-class", "gthread", "--threads", "32", "--keep-alive", "75",
                   "--graceful-timeout", "2", "--log-level", "error", "--no-control-socket"]
    # fmt: on
    return [*command, f"{app.module}:app"]


def caddyfile(sites: Iterable[tuple[int, str]], global_options: Iterable[str] = ()) -> str:
    """Returns a Caddyfile with one directive (which may span lines) per loopback port."""
    lines = ["{", *("\t" + o for o in ("admin off", "persist_config off", "auto_https off"))]
    lines += ["\t" + option for option in global_options]
    lines.append("}")
    for port, directive in sites:
        lines += [f"http://:{port} {{", "\tbind 127.0.0.1", "\t" + directive, "}"]
    return "\n".join(lines) + "\n"


def respond_directive() -> str:
    return f'respond "{EXPECTED_BODY.decode()}"'


def proxy_directive(backend_port: int) -> str:
    return f"reverse_proxy 127.0.0.1:{backend_port}"


def plugin_directive(app: App, venv: Path) -> str:
    options = [f"module_{app.interface} {app.module}:app"]
    options += [f'working_dir "{APPS_DIR}"', f'venv "{venv}"']
    return "python {\n" + "".join(f"\t\t{option}\n" for option in options) + "\t}"
