"""The applications' own metrics: what they count with prometheus_client is on Caddy's /metrics."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from harness import http1
from harness.board import Board
from harness.caddyfile import python
from harness.dynamic import LABEL, ask_tenant
from harness.health import LATE_APPS
from harness.metrics import METRICS, scrape
from harness.plugin import Serve
from harness.server import Server
from harness.settings import APPS
from harness.waiting import wait_for
from harness.workers import WORKERS, await_end

in_process = pytest.mark.in_process("its apps have workers, and its canaries none")
FOLDER = APPS / "measured"
WSGI, ASGI = "measured:app", "measured:loop"
APP = {"wsgi": WSGI, "asgi": ASGI}
MISSING = "^metrics of a python app are missing\n"
DROPPED = "^metric of a python app is dropped\n"


@pytest.fixture
def block(board: Board) -> Callable[..., str]:
    """Writes a block for an app that is measured."""

    def write(target: str, *options: str, extra: str = "", notes: Path = board.folder) -> str:
        interface = "module_asgi" if target == ASGI else "module_wsgi"
        environment = [f"env_var NOTES {notes}"]
        if extra:
            (board.folder / "extra.env").write_text(f"EXTRA='{extra}'\n")
            environment.append(f"env_file {board.folder / 'extra.env'}")
        lines = ["app_metrics", *environment, *options]
        return python(target, *lines, interface=interface, folder=FOLDER)

    return write


def served(serve: Serve, *blocks: str, **more: object) -> Server:
    return serve(*blocks, options=[METRICS], slack=WORKERS, **more)


def read(text: str, app: str) -> dict[str, float]:
    """What an app has: `name{label=value}`, without the label `app`."""
    found = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            labels = dict(sample.labels)
            if labels.pop("app", None) != app:
                continue
            inside = ",".join(f"{name}={value}" for name, value in sorted(labels.items()))
            name = sample.name.removeprefix("planted_")
            key = f"{name}{{{inside}}}" if inside else name
            assert key not in found
            found[key] = sample.value
    return found


def samples(server: Server, app: str = WSGI) -> dict[str, float]:
    return read(scrape(server), app)


def types(server: Server) -> dict[str, str]:
    return {family.name: family.type for family in text_string_to_metric_families(scrape(server))}


def order(server: Server, times: int = 1, target: str = "/", site: int = 0) -> None:
    for _ in range(times):
        assert http1.request(server.ports[site], "GET", target).status == 200


@pytest.mark.parametrize("interface", APP)
@pytest.mark.smoke
def test_what_an_app_counts_is_on_metrics(
    serve: Serve, block: Callable[..., str], interface: str
) -> None:
    server = served(serve, block(APP[interface], "workers 0"))
    order(server, 2)
    order(server, 1, "/?kind=pen")
    found = samples(server, APP[interface])
    expected = {
        "imports_total": 1,
        "orders_total{exported_app=shop,kind=book}": 2,
        "orders_total{exported_app=shop,kind=pen}": 1,
        "sizes_bucket{le=1}": 0,
        "sizes_bucket{le=10}": 3,
        "sizes_bucket{le=+Inf}": 3,
        "sizes_count": 3,
        "sizes_sum": 15,
        "prices_count{kind=book}": 2,
        "prices_sum{kind=book}": 5,
        "build_info{version=1.2}": 1,
        "state{planted_state=open}": 0,
        "state{planted_state=closed}": 1,
        "all": 3,
        "sum": 3,
        "mostrecent": 3,
        "switched_total": 7,
        "caddysnake_app_scrape_errors_total": 0,
    }
    assert {name: found.get(name) for name in expected} == expected
    known = types(server)
    assert known["planted_orders"] == "counter"
    assert known["planted_sizes"] == "histogram"
    assert known["planted_prices"] == "summary"
    assert known["planted_all"] == known["planted_state"] == "gauge"
    assert not [name for name in found if name.startswith(("process_", "python_gc_", "python_i"))]
    assert not [name for name in found if "created" in name]


def test_without_the_option_there_are_none(serve: Serve, board: Board) -> None:
    environment = f"env_var NOTES {board.folder}"
    server = served(serve, python(WSGI, environment, folder=FOLDER))
    order(server)
    assert "planted_" not in scrape(server)
    assert "scrape_errors" not in scrape(server)


def test_without_caddys_metrics_there_are_none(serve: Serve, block: Callable[..., str]) -> None:
    server = serve(block(WSGI), slack=WORKERS)
    order(server)
    assert "planted_" not in scrape(server)
    assert server.log.find("^app_metrics has no effect: the global option metrics is missing$")


@pytest.mark.parametrize("workers", ["workers 0", "workers 1"])
@in_process
def test_prometheus_client_is_not_imported_for_an_app(serve: Serve, workers: str) -> None:
    server = served(serve, python("unmeasured:app", "app_metrics", workers, folder=FOLDER))
    scrape(server)
    assert server.get("/").text == "False"
    assert read(scrape(server), "unmeasured:app")["caddysnake_app_scrape_errors_total"] == 0


# Workers


@in_process
@pytest.mark.parametrize("interface", APP)
def test_workers_are_added_up(serve: Serve, block: Callable[..., str], interface: str) -> None:
    server = served(serve, block(APP[interface], "workers 2"))
    order(server, 10)
    found = samples(server, APP[interface])
    expected = {
        "imports_total": 2,
        "orders_total{exported_app=shop,kind=book}": 10,
        "sizes_bucket{le=10}": 10,
        "sizes_sum": 50,
        "prices_count{kind=book}": 10,
        "build_info{version=1.2}": 1,
        "state{planted_state=closed}": 1,
        "all{worker=1}": 3,
        "all{worker=2}": 3,
        "liveall{worker=1}": 3,
        "sum": 6,
        "livesum": 6,
        "max": 3,
        "min": 3,
        "mostrecent": 3,
        "switched_total": 14,
    }
    assert {name: found.get(name) for name in expected} == expected
    assert "all" not in found


@in_process
def test_the_counters_of_replaced_workers_stay(serve: Serve, block: Callable[..., str]) -> None:
    server = served(serve, block(WSGI, "workers 1", "max_requests 5"))
    pids: list[int] = []

    def third() -> bool:
        pids.append(int(server.get("/").text))
        return len(set(pids)) == 3

    wait_for(third, "two successors")
    await_end(set(pids) - {pids[-1]})
    name = "orders_total{exported_app=shop,kind=book}"
    wait_for(lambda: samples(server)[name] == len(pids), lambda: str(samples(server)))
    found = samples(server)
    assert found["imports_total"] >= 3
    assert found["sizes_bucket{le=10}"] == len(pids)
    assert found["sum"] == 3, "a gauge is that of the workers that live"


@in_process
def test_what_was_scraped_of_a_worker_that_dies_stays(
    serve: Serve, block: Callable[..., str]
) -> None:
    server = served(serve, block(WSGI, "workers 1"))
    server.allow_log(".")
    order(server, 3)
    assert samples(server)["sizes_count"] == 3
    assert server.get("/dies").status == 502
    order(server, 2)
    wait_for(lambda: samples(server)["imports_total"] == 2, "its successor")
    assert samples(server)["sizes_count"] == 5


# Reloads and tenants


@pytest.mark.parametrize("workers", ["workers 0", "workers 1"])
@in_process
def test_counters_go_on_after_a_reload(
    serve: Serve, block: Callable[..., str], workers: str
) -> None:
    server = served(serve, block(WSGI, workers))
    order(server, 3)
    server.load(block(WSGI, workers, "threads 3"))
    order(server, 2)
    wait_for(lambda: server.log.find("^python app unloaded$"), "the end of the old code")
    found = samples(server)
    assert found["sizes_count"] == 5
    assert found["imports_total"] == 2
    assert found["sum"] == 3


def tenants(board: Board, root: Path, *names: str) -> str:
    for name in names:
        (root / name).mkdir(parents=True)
        (root / name / "measured.py").write_text((FOLDER / "measured.py").read_text())
    notes = f"env_var NOTES {board.folder}"
    return python(WSGI, f'working_dir "{root}/{LABEL}"', notes, "app_metrics", folder=FOLDER)


def test_tenants_of_a_block_are_added_up(serve: Serve, board: Board, tmp_path: Path) -> None:
    lines = tenants(board, tmp_path, "one", "two", "three").splitlines()
    del lines[2]  # the directory of python()
    per_tenant = "python {\n        per_tenant_metrics 1\n    }"
    server = serve("\n".join(lines), options=[METRICS, per_tenant], slack=LATE_APPS)
    for name in ("one", "two", "three", "one"):
        assert ask_tenant(server, name, "/").status == 200
    own = samples(server, f"{WSGI} (one)")
    assert (own["imports_total"], own["sizes_count"], own["max"]) == (1, 2, 3)
    others = samples(server, "_other")
    assert (others["imports_total"], others["sizes_count"], others["max"]) == (2, 2, 3)


# Names


def test_a_name_of_caddys_is_dropped(serve: Serve, block: Callable[..., str]) -> None:
    extra = """Gauge("go_threads", "Not ours.").set(99)
Gauge("caddysnake_apps", "Not ours.").set(99)
Counter("process_payments", "The application may call it so.").inc()
Gauge("caddy_http_requests_in_flight", "Not ours.", ["handler"]).labels("x").set(99)"""
    server = served(serve, block(WSGI, extra=extra))
    for _ in range(2):
        found = scrape(server)
        assert "Not ours" not in found
        assert read(found, WSGI)["imports_total"] == 1
        assert read(found, WSGI)["process_payments_total"] == 1
    names = [record.fields["metric"] for record in server.log.find(DROPPED)]
    assert sorted(names) == ["caddy_http_requests_in_flight", "caddysnake_apps", "go_threads"]


@pytest.mark.parametrize(
    ("one", "two", "dropped"),
    [
        ('Counter("planted_x", "x")', 'Gauge("planted_x_total", "x")', "planted_x_total"),
        ('Histogram("planted_x", "x")', 'Gauge("planted_x_count", "x")', "planted_x_count"),
        ('Gauge("planted_x_sum", "x")', 'Summary("planted_x", "x")', "planted_x"),
    ],
    ids=["type", "suffix", "base"],
)
def test_metrics_of_two_apps_that_do_not_go_together(
    serve: Serve, block: Callable[..., str], tmp_path: Path, one: str, two: str, dropped: str
) -> None:
    for name, extra in (("a", one), ("b", two)):
        (tmp_path / f"{name}.py").write_text((FOLDER / "measured.py").read_text() + extra)
    here = f"working_dir {tmp_path}"

    def site(name: str) -> str:
        lines = block(f"{name}:app").splitlines()
        return "\n".join([lines[0], lines[1], f"    {here}", *lines[3:]])

    server = served(serve, site("a"), site("b"))
    for _ in range(2):
        assert samples(server, "b:app")["imports_total"] == 1
    records = server.log.find(DROPPED)
    assert [(r.fields["app"], r.fields["metric"]) for r in records] == [("b:app", dropped)]


def test_the_same_metric_of_two_apps_may_have_other_labels_and_help(
    serve: Serve, block: Callable[..., str], tmp_path: Path
) -> None:
    for name, extra in (
        ("a", 'Counter("planted_x", "One.", ["b"]).labels("1").inc()'),
        ("b", 'Counter("planted_x", "Two.", ["c"]).labels("2").inc()'),
    ):
        (tmp_path / f"{name}.py").write_text((FOLDER / "measured.py").read_text() + extra)

    def site(name: str) -> str:
        lines = block(f"{name}:app").splitlines()
        return "\n".join([lines[0], lines[1], f"    working_dir {tmp_path}", *lines[3:]])

    server = served(serve, site("a"), site("b"))
    assert samples(server, "a:app")["x_total{b=1}"] == 1
    assert samples(server, "b:app")["x_total{c=2}"] == 1
    assert not server.log.find(DROPPED)


def test_an_app_with_too_many_series_shows_as_many_as_it_may(
    serve: Serve, block: Callable[..., str]
) -> None:
    extra = """many = Counter("planted_many", "Many.", ["n"])
for n in range(10000): many.labels(n)
Counter("planted_late", "A metric behind it.")"""
    server = served(serve, block(WSGI, extra=extra))
    found = samples(server)
    assert not [name for name in found if name.startswith("many")]
    assert found["late_total"] == 0
    assert found["imports_total"] == 1
    (record,) = server.log.find(MISSING)
    assert "1 metrics are left out" in record.text


# Collectors that fail


@pytest.mark.parametrize("workers", ["workers 0", "workers 1"])
@in_process
def test_a_collector_that_raises_spoils_nothing_else(
    serve: Serve, block: Callable[..., str], board: Board, tmp_path: Path, workers: str
) -> None:
    server = served(serve, block(WSGI, workers), block(ASGI, notes=tmp_path))
    order(server, 2)
    assert samples(server)["sizes_count"] == 2
    board.post("raise")
    server.expect_log("planted: no metrics", level="warn", times=1)
    found = scrape(server)
    assert "go_goroutines" in found
    assert read(found, ASGI)["imports_total"] >= 1
    ours = read(found, WSGI)
    assert ours["caddysnake_app_scrape_errors_total"] >= 1
    assert ours["sizes_count"] == 2, "a counter does not go back"
    assert "sum" not in ours, "but a gauge is not known"
    record = server.log.find(MISSING)[0]
    assert record.fields["app"] == WSGI
    assert "RuntimeError: planted: no metrics" in record.text
    (board.folder / "raise").unlink()
    order(server)
    found = samples(server)
    assert (found["sizes_count"], found["sum"]) == (3, 3)


@pytest.mark.parametrize("workers", ["workers 0", "workers 1"])
@in_process
def test_a_collector_that_hangs_spoils_nothing_else(
    serve: Serve, block: Callable[..., str], board: Board, tmp_path: Path, workers: str
) -> None:
    server = served(serve, block(WSGI, workers), block(ASGI, notes=tmp_path))
    order(server, 2)
    assert samples(server)["sizes_count"] == 2
    board.post("hang")
    for scrapes in (1, 2):
        found = scrape(server)
        assert "go_goroutines" in found
        assert read(found, ASGI)["sum"] == 3
        ours = read(found, WSGI)
        assert ours["caddysnake_app_scrape_errors_total"] == scrapes
        assert ours["sizes_count"] == 2
        assert "sum" not in ours
    order(server)
    assert len(server.log.find(MISSING)) == 1, "once a minute"
    (board.folder / "hang").unlink()
    wait_for(lambda: samples(server).get("sum") == 3, "an answer")
    assert samples(server)["sizes_count"] == 3


def test_an_app_that_shares_its_counters_with_other_processes_is_refused(
    serve: Serve, block: Callable[..., str], tmp_path: Path
) -> None:
    server = served(serve, block(WSGI, f"env_var PROMETHEUS_MULTIPROC_DIR {tmp_path}"))
    found = samples(server)
    assert found["caddysnake_app_scrape_errors_total"] == 1
    assert "imports_total" not in found
    (record,) = server.log.find(MISSING)
    assert "PROMETHEUS_MULTIPROC_DIR is set" in record.text
