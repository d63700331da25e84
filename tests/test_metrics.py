"""Metrics: what they say is what has happened, and nothing is lost by a new configuration."""

from __future__ import annotations

import http.server
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

import pytest
from prometheus_client.openmetrics import parser as openmetrics

from harness.board import Board
from harness.caddyfile import asgi, wsgi
from harness.dynamic import Tenants, ask_tenant, text
from harness.health import LATE_APPS
from harness.metrics import METRICS, await_values, samples, scrape
from harness.plugin import Serve
from harness.ports import HOST
from harness.server import Server
from harness.source import FAILED, Source, await_reloads
from harness.waiting import wait_for
from harness.websocket import WebSocket
from harness.workers import WORKERS, worker

SLOW = "wsgi_slow:app"


def requests(**codes: int) -> dict[str, float]:
    """The counts of all requests of an app, by the class of their status."""
    named = {code.removeprefix("of_"): count for code, count in codes.items()}
    return {f"requests_total{{code={n}xx}}": named.get(f"{n}xx", 0) for n in range(1, 6)}


def served(serve: Serve, *blocks: str, **options: object) -> Server:
    return serve(*blocks, options=[METRICS], **options)


@pytest.mark.smoke
def test_each_request_is_counted_by_the_class_of_its_status(serve: Serve) -> None:
    server = served(serve, wsgi("wsgi_response:app"))
    for _ in range(5):
        assert server.get("/hello").status == 200
    server.expect_failure("KeyError", times=2)
    for _ in range(2):
        assert server.get("/unknown").status == 500
    name = "wsgi_response:app"
    await_values(server, name, requests(of_2xx=5, of_5xx=2))
    found = samples(server, name)
    assert found["queue_seconds_count"] == found["application_seconds_count"] == 7
    assert found["response_write_seconds_count"] == 5
    assert found["apps{state=loaded}"] == 1
    assert found["app_loads_total{result=success}"] == 1
    assert found["app_load_seconds_count{result=success}"] == 1
    assert found["threads"] == 32
    assert found["requests_in_flight"] == found["queue_depth"] == found["busy_threads"] == 0
    (info,) = [sample for sample in found if sample.startswith("app_info")]
    assert "interface=wsgi,python=3." in info


@pytest.mark.smoke
def test_a_full_pool_of_threads_shows(serve: Serve, board: Board) -> None:
    server = served(serve, wsgi(SLOW, "threads 2"), probe="/hello")
    connections = [server.connect() for _ in range(5)]
    for connection in connections:
        connection.request("GET", "/waits", board.headers)
    board.wait("running", 2)
    await_values(
        server,
        SLOW,
        {"threads": 2, "busy_threads": 2, "queue_depth": 3, "requests_in_flight": 5},
    )
    time.sleep(0.2)  # that the requests have to wait, at least
    board.post("go")
    for connection in connections:
        assert connection.response().text == "done"
        connection.close()
    await_values(
        server,
        SLOW,
        {"busy_threads": 0, "queue_depth": 0, "requests_in_flight": 0} | requests(of_2xx=5),
    )
    found = samples(server, SLOW)
    assert found["queue_seconds_count"] == found["application_seconds_count"] == 5
    assert found["queue_seconds_sum"] >= 3 * 0.2
    assert found["queue_seconds_bucket{le=0.1}"] == 2
    assert found["application_seconds_sum"] >= 2 * 0.2
    assert found["application_seconds_sum"] < found["queue_seconds_sum"] + 60


def test_timeouts_and_slow_requests_are_counted(serve: Serve, board: Board) -> None:
    """One request runs too long, and one waits too long for the thread."""
    block = wsgi(SLOW, "request_timeout 1s", "slow_request 500ms", "threads 1")
    server = served(serve, block)
    server.expect_log("did not respond within its request_timeout", times=2)
    server.expect_app_log("^request timed out after 1 s")
    with server.connect() as first:
        first.request("GET", "/blocks_outside_python", board.headers)
        board.wait("running")
        assert server.get("/waits", board.headers).status == 504
        assert first.response().status == 504
        wait_for(lambda: server.log.find("^request timed out after 1 s"), "the record")
        with (board.folder / "pipe").open("wb"):
            pass
    counted = {"timeouts_total": 2, "slow_requests_total": 1, "queue_depth": 0}
    await_values(server, SLOW, counted | requests(of_5xx=2))
    found = samples(server, SLOW)
    assert found["queue_seconds_count"] == 2
    assert found["application_seconds_count"] == 1
    assert found["application_seconds_sum"] >= 0.9


@pytest.mark.smoke
def test_websockets_are_counted_while_they_are_open(serve: Serve) -> None:
    name = "websocket_echo:app"
    server = served(serve, asgi(name), canary=False)
    with WebSocket(server, "/") as websocket:
        websocket.text("hello")
        assert websocket.receive().payload == b"hello"
        await_values(server, name, {"websockets": 1, "requests_in_flight": 0} | requests(of_1xx=1))
    await_values(server, name, {"websockets": 0})
    assert "threads" not in samples(server, name)


@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
def test_a_blocked_loop_shows(serve: Serve, board: Board, loop: str) -> None:
    name = "asgi_extensions:app"
    server = served(serve, asgi(name, "lifespan off", f"loop {loop}"), probe="/hello")
    with server.connect() as connection:
        connection.request("GET", "/blocks", board.headers)
        board.wait("blocking")
        wait_for(lambda: samples(server, name).get("loop_lag_seconds", 0) > 1, "the lag")
        board.post("reported")
        assert connection.response().text == "late"
    await_values(server, name, {"requests_in_flight": 0})
    assert samples(server, name)["loop_lag_seconds"] > 1, "it is that of the newest question"


class Collector(http.server.BaseHTTPRequestHandler):
    """Takes what OTLP exports."""

    received: ClassVar[list[bytes]] = []

    def do_POST(self) -> None:
        self.received.append(self.rfile.read(int(self.headers["Content-Length"])))
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def collector() -> Iterator[http.server.HTTPServer]:
    """It outlives the server, which exports once more at its end."""
    with http.server.HTTPServer((HOST, 0), Collector) as collector:
        thread = threading.Thread(target=collector.serve_forever, daemon=True)
        thread.start()
        yield collector
        collector.shutdown()
        thread.join()


def test_caddys_other_ways_show_them_too(
    collector: http.server.HTTPServer, serve: Serve, tmp_path: Path
) -> None:
    """The directive `metrics`, and the export over OTLP. With the application's own metrics, the
    former is read by the strict parser of OpenMetrics."""
    block = wsgi("measured:app", "app_metrics", f"env_var NOTES {tmp_path}", folder="measured")
    server = serve(
        f"handle /metrics {{\nmetrics\n}}\nhandle {{\n{block}\n}}",
        options=["metrics {\n        otlp\n    }"],
        env={
            "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://{HOST}:{collector.server_port}",
            "OTEL_METRIC_EXPORT_INTERVAL": "200",
        },
    )
    assert server.get("/hello").status == 200
    wait_for(lambda: "caddysnake_requests_total" in server.get("/metrics").text, "ours")
    for name in (b"caddysnake_requests", b"planted_orders", b"planted_sizes"):
        wait_for(lambda name=name: any(name in body for body in Collector.received), "an export")
    accepted = [("Accept", "application/openmetrics-text; version=1.0.0")]
    lines = server.get("/metrics", accepted).text.splitlines(keepends=True)
    assert lines[-1] == "# EOF\n"
    text = "".join(line for line in lines if "planted_" in line) + lines[-1]  # Go's own are wrong
    known = {each.name: each.type for each in openmetrics.text_string_to_metric_families(text)}
    assert known["planted_orders"] == "counter"
    assert known["planted_sizes"] == "histogram"
    assert known["planted_prices"] == "summary"


def test_a_probe_is_no_request(serve: Serve) -> None:
    server = served(serve, wsgi("wsgi_response:app", "probe /hello"))
    assert server.get("/hello").status == 200
    await_values(server, "wsgi_response:app", requests(of_2xx=1))


def test_without_caddys_metrics_there_are_none(serve: Serve) -> None:
    server = serve(wsgi("wsgi_response:app"), probe="/hello")
    assert server.get("/hello").status == 200
    assert "caddysnake_" not in scrape(server)


def test_a_new_configuration_keeps_the_counters(serve: Serve) -> None:
    server = served(serve, wsgi("wsgi_response:app"))
    name = "wsgi_response:app"
    for options in ((), ("threads 3",), ("threads 3",)):
        assert server.load(wsgi(name, *options)).status == 200
        assert server.get("/hello").status == 200
    await_values(server, name, requests(of_2xx=3) | {"threads": 3, "apps{state=loaded}": 1})
    assert samples(server, name)["app_loads_total{result=success}"] == 2
    # Without metrics nothing is counted, and nothing is forgotten.
    server.options = []
    assert server.load(wsgi(name)).status == 200
    assert server.get("/hello").status == 200
    server.options = [METRICS]
    assert server.load(wsgi(name)).status == 200
    assert server.get("/hello").status == 200
    await_values(server, name, requests(of_2xx=4))


def test_reloads_and_failed_loads_are_counted(serve: Serve, tmp_path: Path) -> None:
    source = Source(tmp_path / "site")
    server = served(serve, source.block())
    name = "edited:app"
    source.write("2")
    await_reloads(server, 1)
    assert server.get("/").text == "2"
    await_values(server, name, {"reloads_total": 1, "app_loads_total{result=success}": 2})
    server.expect_log(FAILED)
    source.main.write_text("1 / 0")
    await_reloads(server, 1, FAILED)
    server.expect_log("could not be loaded", times=1)
    assert server.get("/").status == 500
    await_values(
        server,
        name,
        {"reloads_total": 1, "app_loads_total{result=failure}": 1, "apps{state=failed}": 1}
        | requests(of_2xx=1, of_5xx=1),
    )
    source.write("3")
    await_reloads(server, 2)
    await_values(server, name, {"apps{state=failed}": 0, "apps{state=loaded}": 1})


# Tenants


@pytest.fixture
def tenants(tmp_path: Path, board: Board) -> Tenants:
    return Tenants(tmp_path / "sites", board, "wsgi", "one", "two", "three")


@pytest.mark.smoke
def test_tenants_of_a_block_share_its_metrics(serve: Serve, tenants: Tenants) -> None:
    server = served(serve, tenants.block("max_apps 2"), slack=LATE_APPS)
    for name in ("one", "two", "one"):
        assert text(server, name) == name
    await_values(server, "main:app", requests(of_2xx=3) | {"apps{state=loaded}": 2, "threads": 64})
    wait_for(lambda: ask_tenant(server, "three").text == "three", "room")
    await_values(server, "main:app", {"evictions_total{reason=max_apps}": 1})
    await_values(server, "main:app", {"apps{state=loaded}": 2})


def test_a_tenant_that_is_being_loaded_or_fails_shows(serve: Serve, tenants: Tenants) -> None:
    server = served(serve, tenants.block(), slack=LATE_APPS)
    tenants.add_broken("broken", "1 / 0")
    tenants.stop("import", "broken")
    server.expect_log("ZeroDivisionError")
    server.expect_log("could not be loaded")
    with server.connect() as connection:
        connection.send(b"GET /name HTTP/1.1\r\nHost: broken.example.com\r\n\r\n")
        tenants.board.wait("imported")
        await_values(server, "main:app", {"apps{state=loading}": 1})
        tenants.go("import", "broken")
        assert connection.response().status == 500
    await_values(
        server,
        "main:app",
        {"apps{state=loading}": 0, "apps{state=failed}": 1, "app_loads_total{result=failure}": 1}
        | requests(of_5xx=1),
    )
    assert ask_tenant(server, "nobody").status == 404
    await_values(server, "main:app", requests(of_4xx=1, of_5xx=1))


def test_tenants_have_metrics_of_their_own_up_to_a_number(serve: Serve, tenants: Tenants) -> None:
    options = [METRICS, "python {\n        per_tenant_metrics 1\n    }"]
    server = serve(tenants.block(), options=options, slack=LATE_APPS)
    for name in ("one", "two", "three", "one"):
        assert text(server, name) == name
    await_values(server, "main:app (one)", requests(of_2xx=2))
    await_values(server, "_other", requests(of_2xx=2) | {"apps{state=loaded}": 2})
    assert samples(server, "main:app")["requests_total{code=2xx}"] == 0


# Workers

in_process = pytest.mark.in_process("its apps have workers, and its canaries none")


@in_process
@pytest.mark.smoke
def test_workers_show(serve: Serve, board: Board) -> None:
    name = "plain:app"
    server = served(serve, worker(name, "threads 1", workers="workers 2"), slack=WORKERS)
    await_values(
        server, name, {"total_workers": 2, "ready_workers": 2, "busy_workers": 0, "threads": 2}
    )
    assert samples(server, name)["worker_memory_bytes"] > 2 << 20
    connections = [server.connect() for _ in range(3)]
    for connection in connections:
        connection.request("GET", "/waits", board.headers)
    board.wait("begun", 2)
    full = {"busy_workers": 2, "busy_threads": 2, "queue_depth": 1, "requests_in_flight": 3}
    await_values(server, name, full)
    board.post("go")
    for connection in connections:
        assert connection.response().status == 200
        connection.close()
    await_values(server, name, {"busy_workers": 0, "queue_depth": 0} | requests(of_2xx=3))
    assert samples(server, name)["queue_seconds_count"] == 3


@in_process
def test_crashes_of_workers_are_counted(serve: Serve) -> None:
    name = "deadly:app"
    server = served(serve, worker(name), slack=WORKERS)
    server.allow_log(".")
    assert samples(server, name)["worker_crashes_total"] == 0  # where an increase begins
    assert server.get("/exits").status == 502
    await_values(
        server,
        name,
        {"worker_crashes_total": 1, "worker_restarts_total{reason=crash}": 1, "ready_workers": 1}
        | requests(of_5xx=1),
    )


@in_process
def test_replaced_workers_are_counted_by_the_limit(serve: Serve) -> None:
    name = "plain:app"
    server = served(serve, worker(name, "max_requests 5"), slack=WORKERS)
    for _ in range(6):
        assert server.get("/pid").status == 200
    await_values(
        server, name, {"worker_restarts_total{reason=max_requests}": 1, "ready_workers": 1}
    )
    assert samples(server, name)["worker_crashes_total"] == 0


@in_process
def test_what_a_worker_writes_into_the_memory_is_no_metric(serve: Serve, board: Board) -> None:
    """Times that can't be are cut: each is within the time that Caddy has seen."""
    name = "deadly:app"
    server = served(serve, worker(name, workers="workers 2"), slack=WORKERS)
    server.allow_log(".")
    began = time.monotonic()
    count = 10
    for seed in range(count):
        server.get(f"/scribbles?{seed}", board.headers, timeout=30)
    passed = time.monotonic() - began
    wait_for(
        lambda: (
            sum(
                value
                for key, value in samples(server, name).items()
                if key.startswith("requests_t")
            )
            == count
        ),
        "all requests",
    )
    found = samples(server, name)
    assert found["queue_seconds_sum"] <= passed
    assert found["application_seconds_sum"] <= passed
    assert 0 <= found["queue_depth"] <= count
