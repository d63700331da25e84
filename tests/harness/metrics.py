"""A server's metrics, as Prometheus reads them."""

from __future__ import annotations

from prometheus_client.parser import text_string_to_metric_families

from harness import http1
from harness.server import Server
from harness.waiting import wait_for

# The line of the global block that switches them on.
METRICS = "metrics"


def scrape(server: Server) -> str:
    response = http1.request(server.admin, "GET", "/metrics", timeout=20)
    assert response.status == 200, response.text
    return response.text


def samples(server: Server, app: str | None = None) -> dict[str, float]:
    """The plugin's, of one app if it is given: `name{label=value}`, without the app's label."""
    found = {}
    for family in text_string_to_metric_families(scrape(server)):
        for sample in family.samples:
            if not sample.name.startswith("caddysnake_"):
                continue
            labels = dict(sample.labels)
            if app is not None and labels.pop("app", None) != app:
                continue
            inside = ",".join(f"{name}={value}" for name, value in sorted(labels.items()))
            name = sample.name.removeprefix("caddysnake_")
            found[f"{name}{{{inside}}}" if inside else name] = sample.value
    return found


def await_values(server: Server, app: str, values: dict[str, float]) -> None:
    """Waits until the metrics have these values: a request is counted when its answer is out."""
    seen: dict[str, float] = {}

    def reached() -> bool:
        seen.clear()
        seen.update(samples(server, app))
        return all(seen.get(name) == value for name, value in values.items())

    wait_for(reached, lambda: f"{values}; there are {seen}", 30)
