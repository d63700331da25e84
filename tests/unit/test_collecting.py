"""caddysnake_py.app_metrics: what collectors of an application may yield."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterable
from typing import Any

import prometheus_client
import pytest
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.metrics_core import GaugeHistogramMetricFamily, Metric

from caddysnake_py import app_metrics

Lines = list[Any]


@pytest.fixture
def registry(monkeypatch: pytest.MonkeyPatch) -> CollectorRegistry:
    registry = CollectorRegistry(auto_describe=True)
    monkeypatch.setattr(prometheus_client, "REGISTRY", registry)
    return registry


def collected() -> tuple[dict[str, Any], Lines]:
    head, *lines = map(json.loads, app_metrics.collect().splitlines())
    return head, lines


class Collector:
    """Yields what a test gives it."""

    def __init__(self, *families: Metric) -> None:
        self.families = families

    def describe(self) -> Iterable[Metric]:
        return []

    def collect(self) -> Iterable[Metric]:
        return self.families


def metric(kind: str, *samples: tuple[str, dict[str, Any], Any]) -> Collector:
    family = Metric("x", "Help.", kind)
    for sample in samples:
        family.add_sample(*sample)
    return Collector(family)


def head(name: str, kind: str, mode: str = "") -> dict[str, str]:
    return {"name": name, "type": kind, "mode": mode, "help": "Help."}


def test_without_the_package_there_is_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "prometheus_client")
    assert collected() == ({"left_out": 0}, [])
    assert "prometheus_client" not in sys.modules


def test_counters_and_gauges(registry: CollectorRegistry) -> None:
    Counter("x", "Help.", ["b", "a"], registry=registry).labels("1", "2").inc(3)
    Gauge("y", "Help.", registry=registry, multiprocess_mode="livemax").set(float("nan"))
    assert collected()[1] == [
        head("x_total", "counter"),
        [["a", "2", "b", "1"], ["3.0"]],
        head("y", "gauge", "max"),
        [[], ["nan"]],
    ]


def test_histograms(registry: CollectorRegistry) -> None:
    Histogram("x", "Help.", buckets=[1, 5], registry=registry).observe(2)
    Histogram("y", "Help.", buckets=[-1, 5], registry=registry)  # it has no sum
    assert collected()[1] == [
        head("x", "histogram"),
        [[], ["2.0", "1.0", "1.0", "0.0", "5.0", "1.0", "inf", "1.0"]],
        head("y", "histogram"),
        [[], ["nan", "0.0", "-1.0", "0.0", "5.0", "0.0", "inf", "0.0"]],
    ]


@pytest.mark.parametrize(
    ("collector", "lines"),
    [
        (metric("unknown", ("x", {}, True)), [head("x", "unknown"), [[], ["1.0"]]]),
        (
            metric("counter", ("x", {"n": 1}, 2), ("x_created", {"n": 1}, 9)),
            [head("x", "counter"), [["n", "1"], ["2.0"]]],
        ),
        (
            metric("summary", ("x", {"quantile": "1"}, 2), ("x_sum", {}, 9), ("x_count", {}, 3)),
            [head("x", "summary"), [[], ["9.0", "3.0"]]],
        ),
        (
            metric("info", ("x_info", {"v": "\ud800"}, 1)),
            [head("x_info", "gauge", "max"), [["v", "\ud800"], ["1.0"]]],
        ),
        (metric("gauge"), []),
        (
            Collector(
                GaugeHistogramMetricFamily("x", "Help.", buckets=[("+Inf", 1)], gsum_value=1)
            ),
            [],
        ),
        (Collector(Metric("process_cpu_seconds", "Help.", "counter")), []),
    ],
    ids=["unknown", "created", "quantiles", "info", "empty", "gaugehistogram", "process"],
)
def test_collectors_of_the_application(
    registry: CollectorRegistry, collector: Collector, lines: Lines
) -> None:
    registry.register(collector)
    assert collected()[1] == lines


def test_a_metric_that_does_not_fit_is_left_out_alone(
    registry: CollectorRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(app_metrics, "_MAX_SAMPLES", 2)
    monkeypatch.setattr(app_metrics, "_MAX_BYTES", 300)
    for number, count in enumerate((1, 3, 1)):
        counter = Counter(f"n{number}", "Help.", ["a"], registry=registry)
        for label in range(count):
            counter.labels(label)
    Counter("long", "x" * 500, registry=registry)
    found, lines = collected()
    assert found == {"left_out": 2}
    assert [line["name"] for line in lines if isinstance(line, dict)] == ["n0_total", "n2_total"]


@pytest.mark.parametrize("name", ["PROMETHEUS_MULTIPROC_DIR", "prometheus_multiproc_dir"])
def test_shared_counters_are_refused(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setitem(os.environ, name, "/tmp")
    assert collected()[0]["error"].startswith(f"{name} is set; ")


def test_an_exception_of_a_collector_is_that_of_the_call(registry: CollectorRegistry) -> None:
    class Broken(Collector):
        def collect(self) -> Iterable[Metric]:
            raise LookupError("planted")

    registry.register(Broken())
    call: Callable[[], object] = app_metrics.collect
    with pytest.raises(LookupError, match="planted"):
        call()
