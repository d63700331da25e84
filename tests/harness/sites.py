"""Sites on Flask, Django and FastAPI in a Debian root: what every way to install must serve."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from harness import http1
from harness.health import Slack
from harness.plugin import Serve
from harness.python_server import PythonServer
from harness.roots import Root
from harness.settings import APPS
from harness.venvs import write_constraints

FOLDER = "/srv"
DJANGO = {"DJANGO_SETTINGS_MODULE": "djangosite.settings", "DJANGO_DATA": f"{FOLDER}/data"}
STATIC = f"{FOLDER}/data/static"


@dataclass(frozen=True)
class Site:
    """An application, and a part of each of its pages by path."""

    name: str
    app: str
    pages: Mapping[str, str]
    env: Mapping[str, str] = field(default_factory=dict)
    static: str | None = None

    @property
    def folder(self) -> str:
        """Where it is in the root."""
        return f"{FOLDER}/{self.name}"

    def arguments(self, venv: str | None = None) -> list[str]:
        """For the server's executable."""
        found = ["python-server", self.app, "--working-dir", self.folder]
        if venv is not None:
            found += ["--venv", venv]
        for name, value in self.env.items():
            found += ["--env-var", f"{name}={value}"]
        return [*found, "--static-path", self.static] if self.static else found

    def body(self, *options: str, venv: str | None = None) -> str:
        """Its site in a Caddyfile; without `venv` on the environment that the server runs in."""
        lines = [f"working_dir {self.folder}", *options]
        if venv is not None:
            lines.append(f"venv {venv}")
        lines += [f"env_var {name} {value}" for name, value in self.env.items()]
        inside = "\n".join(f"    {line}" for line in lines)
        app = f"python {self.app} {{\n{inside}\n}}"
        if self.static is None:
            return app
        files = f"handle_path /static/* {{\n root * {self.static}\n file_server\n}}"
        return f"{files}\nhandle {{\n{app}\n}}"

    def check(self, port: int) -> None:
        """Asks for each page."""
        for path, part in self.pages.items():
            answer = http1.request(port, "GET", path, timeout=60)
            assert (answer.status, answer.broken) == (200, None), answer
            assert part in answer.text


FLASK = Site("flask_site", "flask_app:app", {"/?name=root": "Hello root"})
DJANGO_ADMIN = Site(
    "django_site",
    "djangosite.wsgi:application",
    {
        "/notes": "[]",
        "/admin/login/": "Django administration",
        "/static/admin/css/base.css": "--primary",
    },
    DJANGO,
    STATIC,
)
FASTAPI = Site("fastapi_site", "fastapi_app:app", {"/": '{"greeting":"hello"}'})
SITES = [FLASK, DJANGO_ADMIN, FASTAPI]


def serve_each(launcher: Sequence[str], directory: Path, venv: str | None = None) -> None:
    """Each site is served in one command, and stopped. `directory` is for what is printed."""
    for site in SITES:
        arguments = site.arguments(venv)
        with PythonServer(directory, *arguments, cwd=directory, launcher=launcher) as server:
            site.check(server.port)
            assert f" serves {site.app} " in server.greeting
            server.stop()


def reload_to_each(serve: Serve, launcher: Sequence[str], venv: str | None = None) -> None:
    """One server of a Caddyfile, which is replaced while it runs."""
    # Django's own threads stay until the process ends.
    slack = Slack(threads=20, python_threads=10, descriptors=8)
    server = serve(FLASK.body(venv=venv), launcher=launcher, canary=False, slack=slack)
    FLASK.check(server.port)
    for site in (*SITES, FLASK):
        done = server.reload(site.body(venv=venv))
        assert done.returncode == 0, done.stderr
        site.check(server.port)


def install(root: Root, interpreter: str) -> None:
    """Copies the sites into the root, and installs what they need for this Python by pip."""
    packages = [site.name.partition("_")[0] for site in SITES]
    constraints = f"{FOLDER}/constraints.txt"
    write_constraints(root.host_path(constraints))
    pip = [interpreter, "-m", "pip", "install", "--quiet", "--only-binary=:all:"]
    root.run(*pip, "-c", constraints, *packages, "python-multipart", fetching=True)
    for site in SITES:
        root.add(APPS / site.name, site.folder)
        if site.static:
            manage = [interpreter, "-m", "django"]
            root.host_path(f"{FOLDER}/data").mkdir()
            root.run(*manage, "migrate", cwd=site.folder, env=site.env)
            root.run(*manage, "collectstatic", "--noinput", cwd=site.folder, env=site.env)
