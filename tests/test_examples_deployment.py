"""The folders of examples/ that deploy an application do what they are for."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path

import pytest
import yaml
from dockerfile_parse import DockerfileParser
from prometheus_client.parser import text_string_to_metric_families

from harness import http1
from harness.activation import activated
from harness.example import EXAMPLES, Example, copy_example
from harness.ports import HOST
from harness.settings import BINARY, REPOSITORY
from harness.waiting import wait_for


def end_takes_at_most(name: str) -> int:
    """By the documentation, if `grace_period` is 5 seconds or more."""
    match = re.search(r"^\tgrace_period (\d+)s$", (EXAMPLES / name / "Caddyfile").read_text(), re.M)
    assert match is not None
    return 2 * int(match[1]) + 25


def instructions(file: Path) -> list[tuple[str, str]]:
    return [(step["instruction"], step["value"]) for step in DockerfileParser(str(file)).structure]


@pytest.mark.example("compose")
def test_compose_agrees_with_the_images(example: Example) -> None:
    compose = yaml.safe_load((example.folder / "compose.yaml").read_text())
    (service,) = compose["services"].values()
    base = dict(instructions(REPOSITORY))
    own = instructions(example.folder)
    assert ("FROM", "caddysnake") in own
    readme = (example.folder / "README.md").read_text()
    assert "docker build --tag caddysnake ../.." in readme

    (port,) = service["ports"]
    host, published, inside = port.split(":")
    assert (host, published) == ("127.0.0.1", "9080")
    assert inside in base["EXPOSE"].split()
    assert f"\n:{inside} {{\n" in (EXAMPLES / "compose" / "Caddyfile").read_text()

    volumes = dict(volume.split(":") for volume in service["volumes"])
    assert set(volumes) == set(compose["volumes"])
    data = service["environment"]["DATA"]
    # An engine gives a new volume the owner of the folder that the image has there.
    assert ("RUN", "mkdir data") in own
    assert data == f"{base['WORKDIR']}/data"
    assert set(volumes.values()) == {*base["VOLUME"].split(), data}
    assert int(service["stop_grace_period"].removesuffix("s")) > end_takes_at_most("compose")

    copied = [value.split() for name, value in own if name == "COPY"]
    assert {source for source, _ in copied} == {"Caddyfile", "guestbook.py", "requirements.txt"}
    assert dict(copied)["Caddyfile"] in base["CMD"]
    assert service["build"] == "."


@pytest.mark.example("compose")
def test_the_container_is_healthy_while_its_guestbook_can_be_read(example: Example) -> None:
    compose = yaml.safe_load((example.folder / "compose.yaml").read_text())
    (service,) = compose["services"].values()
    url = service["environment"]["HEALTH_URL"].replace(":8080", f":{example.port}")
    check = [sys.executable, str(REPOSITORY / "packaging" / "docker" / "healthcheck.py")]
    env = {**os.environ, "HEALTH_URL": url}
    assert subprocess.run(check, env=env, timeout=30, capture_output=True).stdout == b"204\n"
    (example.folder / "guestbook.sqlite3").write_bytes(b"no database" * 1000)
    example.allow_log("file is not a database|handled request")
    assert subprocess.run(check, env=env, timeout=30, capture_output=True).returncode == 1


def scraped(port: int) -> dict[str, list[float]]:
    """The values of each metric."""
    found: dict[str, list[float]] = {}
    for family in text_string_to_metric_families(http1.request(port, "GET", "/metrics").text):
        for sample in family.samples:
            found.setdefault(sample.name, []).append(sample.value)
    return found


@pytest.mark.example("monitoring")
def test_each_query_of_the_dashboard_has_data(example: Example) -> None:
    for target in ("/", "/live/stock"):
        assert example.get(target).status == 200
    dashboard = json.loads((example.folder / "dashboard.json").read_text())
    queries = [target["expr"] for panel in dashboard["panels"] for target in panel["targets"]]
    names = {name for query in queries for name in re.findall(r"caddysnake_\w+", query)}
    assert len(names) >= 15
    assert {name for name in names if name not in scraped(example.port)} == set()
    by = {
        label
        for query in queries
        for part in re.findall(r"by \(([\w, ]+)\)", query)
        for label in part.split(", ")
    }
    assert by == {"app", "code", "le", "state"}


@pytest.mark.example("monitoring")
def test_requests_that_wait_are_seen(example: Example) -> None:
    with ThreadPoolExecutor(6) as pool:
        slow = [pool.submit(example.get, "/slow?seconds=3") for _ in range(6)]
        wait_for(lambda: sum(scraped(example.port)["caddysnake_queue_depth"]) == 2, "the queue")
        found = scraped(example.port)
        assert sum(found["caddysnake_busy_threads"]) == sum(found["caddysnake_threads"]) == 4
        assert {each.result().status for each in slow} == {200}


@pytest.mark.example("kubernetes")
def test_the_manifests_agree_with_the_caddyfile(example: Example) -> None:
    manifests = list(yaml.safe_load_all((example.folder / "site.yaml").read_text()))
    deployment, service, scaler = manifests
    pod = deployment["spec"]["template"]
    (container,) = pod["spec"]["containers"]
    ports = {port["name"]: port["containerPort"] for port in container["ports"]}
    caddyfile = (EXAMPLES / "kubernetes" / "Caddyfile").read_text()
    assert re.findall(r"^:(\d+) \{$", caddyfile, re.M) == [str(port) for port in ports.values()]
    for kind in ("readinessProbe", "livenessProbe", "startupProbe"):
        probe = container[kind]["httpGet"]
        assert probe["port"] == "inner"
        assert http1.request(example.inner, "GET", probe["path"]).status == 200
    assert pod["metadata"]["annotations"]["prometheus.io/port"] == str(ports["inner"])
    labels = deployment["spec"]["selector"]["matchLabels"]
    assert labels == pod["metadata"]["labels"] == service["spec"]["selector"]
    assert [port["targetPort"] for port in service["spec"]["ports"]] == ["http"]
    delay = re.search(r"^\tshutdown_delay (\d+)s$", caddyfile, re.M)
    assert delay is not None
    grace = pod["spec"]["terminationGracePeriodSeconds"]
    assert grace > end_takes_at_most("kubernetes") + int(delay[1])
    assert scaler["spec"]["scaleTargetRef"]["name"] == deployment["metadata"]["name"]

    rules = yaml.safe_load((example.folder / "adapter.yaml").read_text())["rules"]
    (metric,) = scaler["spec"]["metrics"]
    assert [rule["name"]["as"] for rule in rules] == [metric["pods"]["metric"]["name"]]
    example.get("/")
    names = set(re.findall(r"caddysnake_\w+", rules[0]["metricsQuery"]))
    assert names <= set(scraped(example.inner))


@pytest.mark.example("kubernetes")
def test_a_pod_that_ends_is_not_ready_but_answers(example: Example) -> None:
    os.kill(example.pid, signal.SIGTERM)

    def is_unready() -> bool:
        return http1.request(example.inner, "GET", "/ready").status == 503

    wait_for(is_unready, "the pod to say so")
    assert example.get("/").status == 200


class Service:
    """What systemd would do with the units: the command, its environment, socket, notifications."""

    def __init__(self, directory: Path) -> None:
        self.folder = copy_example("systemd", directory)
        unit = (self.folder / "guestbook.service").read_text()
        self.state, self.runtime = directory / "state", directory / "run"
        for folder in (self.state, self.runtime):
            folder.mkdir()
        for path, here in [
            ("/usr/local/bin/caddy", str(BINARY)),
            ("/srv/guestbook", str(self.folder)),
            ("/var/lib/guestbook", str(self.state)),
            ("/run/guestbook", str(self.runtime)),
        ]:
            assert path in unit
            unit = unit.replace(path, here)
        self.unit = directory / "guestbook.service"
        self.unit.write_text(unit)
        self.log = directory / "log"
        self.socket = socket.create_server((HOST, 0))
        self.port = self.socket.getsockname()[1]
        self.notices = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.notices.bind(str(directory / "notify"))
        self.notices.settimeout(30)
        assigned = [pair for line in self.all("Environment") for pair in line.split()]
        self.env = {
            "PATH": "/usr/bin:/bin",
            "NOTIFY_SOCKET": str(directory / "notify"),
            "STATE_DIRECTORY": str(self.state),
            **dict(pair.split("=", 1) for pair in assigned),
        }

    def all(self, key: str) -> list[str]:
        lines = self.unit.read_text().splitlines()
        return [line.partition("=")[2] for line in lines if line.startswith(f"{key}=")]

    def command(self, key: str) -> list[str]:
        (command,) = self.all(key)
        return command.split()

    @contextmanager
    def running(self) -> Iterator[None]:
        """From the service's start to its orderly end."""
        (folder,) = self.all("WorkingDirectory")
        command = activated(self.command("ExecStart"), [self.socket])
        with (
            self.log.open("ab") as output,
            subprocess.Popen(**command, stderr=output, cwd=folder, env=self.env) as process,
        ):
            try:
                self.await_notice("READY=1")
                yield
            finally:
                process.terminate()
            self.await_notice("STOPPING=1")
            assert process.wait(30) == 0, self.log.read_text()

    def reload(self) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            self.command("ExecReload"),
            cwd=self.folder,
            env=self.env,
            capture_output=True,
            text=True,
            timeout=60,
        )

    def await_notice(self, state: str) -> None:
        while state not in self.notices.recv(4096).decode().splitlines():
            pass

    def request(self, method: str, body: bytes | None = None) -> str:
        form = [("Content-Type", "application/x-www-form-urlencoded")] if body else []
        return http1.request(self.port, method, "/", form, body).text

    def close(self) -> None:
        self.socket.close()
        self.notices.close()


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Service]:
    with closing(Service(tmp_path)) as service:
        yield service


@pytest.mark.example("systemd")
def test_the_units_are_in_order_and_agree(service: Service) -> None:
    units = service.unit.parent
    shutil.copy(service.folder / "guestbook.socket", units)
    if shutil.which("systemd-analyze"):
        for check in (
            ["verify", "guestbook.service", "guestbook.socket"],
            ["security", "--offline=true", "--threshold=20", "--no-pager", "guestbook.service"],
        ):
            done = subprocess.run(
                ["systemd-analyze", *check], cwd=units, capture_output=True, text=True, timeout=60
            )
            assert (done.returncode, done.stderr) == (0, "")
    text = (units / "guestbook.socket").read_text()
    assert re.findall(r"^Listen\w+=(.+)$", text, re.M) == [f"{HOST}:9080"]
    assert "ADDRESS=fd/3" in service.all("Environment")
    assert service.all("Type") == ["notify"]
    (limit,) = service.all("TimeoutStopSec")
    assert int(limit.removesuffix("s")) > end_takes_at_most("systemd")


@pytest.mark.example("systemd")
def test_the_unit_starts_reloads_and_stops_the_service(service: Service) -> None:
    with service.running():
        assert service.request("POST", b"name=Ada") == '["Ada"]\n'
        assert (service.state / "guestbook.sqlite3").is_file()
        # Nobody but the service's user can send it a configuration.
        assert (service.runtime / "admin.sock").stat().st_mode & 0o077 == 0

        module = service.folder / "guestbook.py"
        module.write_text(module.read_text().replace("return [name for", "return [2 for"))
        done = service.reload()
        assert done.returncode == 0, done.stderr
        service.await_notice("RELOADING=1")
        service.await_notice("READY=1")
        assert service.request("GET") == "[2]\n"

        module.write_text("1 / 0\n")
        done = service.reload()
        assert done.returncode != 0
        assert "ZeroDivisionError" in done.stderr
        assert service.request("GET") == "[2]\n"


@pytest.mark.example("systemd")
def test_clients_that_come_while_the_service_is_down_are_answered(service: Service) -> None:
    with ExitStack() as stack:

        def clients() -> list[http1.Connection]:
            """They have sent a request to a socket on which no service accepts connections."""
            made = [stack.enter_context(http1.Connection(service.port)) for _ in range(8)]
            for client in made:
                client.request("GET", "/")
            return made

        waiting = clients()
        with service.running():
            assert [client.response().text for client in waiting] == ["[]\n"] * 8
            service.request("POST", b"name=Ada")
        waiting = clients()
        with service.running():
            assert [client.response().text for client in waiting] == ['["Ada"]\n'] * 8
