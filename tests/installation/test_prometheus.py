"""Prometheus itself reads the metrics, and what examples/monitoring has for it."""

from __future__ import annotations

import json
import math
import os
import re
import signal
import subprocess
import urllib.parse
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from harness import http1
from harness.daemons import daemon, free_port, program
from harness.example import EXAMPLES, Example
from harness.health import Slack
from harness.plugin import Serve
from harness.ports import HOST
from harness.waiting import wait_for

CRASHES = "caddysnake_worker_crashes_total"
WORKERS = Slack(children=4, descriptors=40, threads=24)


@pytest.fixture
def example(serve: Serve) -> Example:
    server = serve("monitoring", kind=Example, slack=WORKERS)
    assert isinstance(server, Example)
    visit(server)
    return server


def visit(server: Example) -> None:
    for target in ("/", "/live/stock"):
        assert server.get(target).status == 200


def promtool(*arguments: str, given: str = "") -> str:
    """What it says of something that it must accept."""
    done = subprocess.run(
        [program("promtool", "prometheus"), *arguments],
        input=given,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stdout
    return done.stdout


class Prometheus:
    """One that collects from the example, with the example's configuration."""

    def __init__(self, port: int) -> None:
        self._port = port

    def ask(self, path: str, **fields: str) -> Any:
        answer = http1.request(
            self._port, "GET", f"/api/v1/{path}?{urllib.parse.urlencode(fields)}"
        )
        assert answer.status == 200, answer.text
        return json.loads(answer.text)["data"]

    def values(self, query: str) -> list[float]:
        """Those of the query's result, now."""
        result = self.ask("query", query=query)["result"]
        return [float(each["value"][1]) for each in result]


def has_numbers(values: list[float]) -> bool:
    return bool(values) and not any(map(math.isnan, values))


@pytest.fixture
def prometheus(example: Example, tmp_path: Path) -> Iterator[Prometheus]:
    text = (example.folder / "prometheus.yml").read_text()
    for written, ours in [
        (":9080", f":{example.port}"),
        ("scrape_interval: 5s", "scrape_interval: 500ms"),
        ("evaluation_interval: 15s", "evaluation_interval: 500ms"),
    ]:
        assert written in text
        text = text.replace(written, ours)
    (example.folder / "prometheus.yml").write_text(text)
    port = free_port()
    command = [
        program("prometheus", "prometheus"),
        f"--config.file={example.folder / 'prometheus.yml'}",
        f"--storage.tsdb.path={tmp_path / 'prometheus'}",
        f"--web.listen-address={HOST}:{port}",
        "--log.level=warn",
    ]
    with daemon(command, port, tmp_path):
        wait_for(lambda: http1.request(port, "GET", "/-/ready").status == 200, "Prometheus", 60)
        yield Prometheus(port)


def test_names_and_helps_are_as_prometheus_wants_them(example: Example) -> None:
    text = example.get("/metrics").text
    ours = "".join(line for line in text.splitlines(True) if "caddysnake_" in line)
    assert ours.count("# HELP") == ours.count("# TYPE") >= 20
    assert promtool("check", "metrics", given=ours) == ""


def test_the_configuration_and_its_rules_are_valid() -> None:
    said = promtool("check", "config", str(EXAMPLES / "monitoring" / "prometheus.yml"))
    assert "4 rules found" in said


def test_each_query_of_the_dashboard_has_a_result(example: Example, prometheus: Prometheus) -> None:
    dashboard = json.loads((example.folder / "dashboard.json").read_text())
    queries = {target["expr"] for panel in dashboard["panels"] for target in panel["targets"]}
    assert len(queries) >= 14
    # What Grafana puts in place of its variables, if all applications are selected.
    pending = {query.replace("$app", ".*").replace("$__rate_interval", "1m") for query in queries}
    assert not any("$" in query for query in pending)

    def all_have_data() -> bool:
        visit(example)
        pending.difference_update(
            [query for query in pending if has_numbers(prometheus.values(query))]
        )
        return not pending

    wait_for(all_have_data, lambda: f"results of {pending}", 60)
    (variable,) = [each for each in dashboard["templating"]["list"] if each["type"] == "query"]
    found = re.fullmatch(r"label_values\((\w+), (\w+)\)", variable["query"])
    assert found is not None
    values = prometheus.ask(f"label/{found[2]}/values", **{"match[]": found[1]})
    assert values == ["live:app", "shop:app"]


def test_each_alert_comes_when_its_time_has_come(example: Example, prometheus: Prometheus) -> None:
    with ThreadPoolExecutor(12) as pool:
        for _ in range(12):  # on 4 threads
            pool.submit(example.get, "/slow")
    example.allow_log("python worker has ended unexpectedly")
    wait_for(lambda: prometheus.values(CRASHES) == [0], "the beginning of the counter")
    for crashes in (1, 2, 3):
        worker = json.loads(example.get("/live/stock").text)["worker"]
        os.kill(worker, signal.SIGKILL)
        wait_for(lambda count=crashes: prometheus.values(CRASHES) == [count], "the crash")
    example.allow_log("handled request")

    def alerts() -> set[str]:
        example.get("/broken")
        return {alert["labels"]["alertname"] for alert in prometheus.ask("alerts")["alerts"]}

    expected = {"ServerErrors", "RequestsWait", "WorkersCrash"}
    wait_for(lambda: alerts() == expected, lambda: f"{expected}; {alerts()}", 60)
