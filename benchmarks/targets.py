"""The compared apps, servers and settings; this module starts nothing.

Each server has as many workers and its documented production settings. All of them answer every
request with the same 13 bytes.
"""

import re
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from pathlib import Path

APPS_DIR = Path(__file__).resolve().parent / "apps"
EXPECTED_BODY = b"Hello, World!"

RESPOND = "caddy respond"
PLUGIN = "caddysnake"  # in Caddy's process
WORKERS = "caddysnake workers"
EARLIER = "earlier caddysnake"  # the binary of --earlier, in Caddy's process
PYVOY = "pyvoy"  # Envoy with Python in it, without Caddy
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
        other = GUNICORN if self.interface == "wsgi" else UVICORN
        return (PLUGIN, WORKERS, EARLIER, GRANIAN, PYVOY, other)


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
        return self.server in (GRANIAN, UVICORN, GUNICORN)


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
    App("Flask computing", "wsgi", "computing_flask", extra=True),
    App("FastAPI computing", "asgi", "computing_fastapi", extra=True),
)
BASELINE = Target(RESPOND, None)


def select(pattern: str, *, extra: bool, without: Collection[str]) -> list[Target]:
    """Returns the baseline, then every target whose name matches `pattern`, grouped by server.

    Args:
        extra: whether the extra apps are measured, too.
        without: servers that can't be measured.
    """
    apps = [app for app in APPS if extra or not app.extra]
    rows = [
        Target(server, app)
        for server in (PLUGIN, WORKERS, EARLIER, GRANIAN, PYVOY, UVICORN, GUNICORN)
        for app in apps
        if server in app.servers and server not in without
    ]
    return [BASELINE, *(row for row in rows if re.search(pattern, row.name, re.IGNORECASE))]


def backend_command(target: Target, port: int, workers: int) -> list[str]:
    """Returns what follows `python -m` to serve a target on a loopback port; run it in APPS_DIR."""
    app = target.app
    assert app is not None
    # fmt: off
    if target.server == GRANIAN:
        command = ["granian", "--interface", app.interface, "--host", "127.0.0.1", "--port",
                   str(port), "--workers", str(workers), "--no-ws", "--log-level", "error"]
    elif target.server == PYVOY:
        command = ["pyvoy._cli", "--interface", app.interface, "--port", str(port),
                   "--no-websockets", "--log-level", "error"]  # it has one process
    elif target.server == UVICORN:
        command = ["uvicorn", "--host", "127.0.0.1", "--port", str(port), "--workers", str(workers),
                   "--no-access-log", "--log-level", "error"]
    else:
        # Sync workers can't keep the proxy's connections alive and are slower. With fewer threads
        # than the plugin's default, requests on some kept connections starve for seconds.
        command = ["gunicorn", "--bind", f"127.0.0.1:{port}", "--workers", str(workers),
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


def plugin_directive(app: App, venv: Path, workers: int) -> str:
    options = [f"module_{app.interface} {app.module}:app"]
    if workers:  # an earlier binary may not know the option
        options.append(f"workers {workers}")
    options += [f'working_dir "{APPS_DIR}"', f'venv "{venv}"']
    return "python {\n" + "".join(f"\t\t{option}\n" for option in options) + "\t}"
