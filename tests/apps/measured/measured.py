"""Apps that count with prometheus_client in each of its ways. Files in NOTES make a collector
raise, or wait; EXTRA is further code."""

import os
import time
from pathlib import Path
from urllib.parse import parse_qs

from prometheus_client import REGISTRY, Counter, Enum, Gauge, Histogram, Info, Summary
from prometheus_client.core import CounterMetricFamily

NOTES = Path(os.environ["NOTES"])

IMPORTS = Counter("planted_imports", "Processes that have imported this module.")
IMPORTS.inc()
ORDERS = Counter("planted_orders", "Orders by their kind.", ["kind", "app"])
SIZES = Histogram("planted_sizes", "Sizes of orders.", buckets=[1, 10])
PRICES = Summary("planted_prices", "Prices of orders.", ["kind"])
Info("planted_build", "The build.").info({"version": "1.2"})
Enum("planted_state", "The state.", states=["open", "closed"]).state("closed")
for mode in ("all", "liveall", "sum", "livesum", "max", "min", "mostrecent"):
    Gauge(f"planted_{mode}", "A gauge.", multiprocess_mode=mode).set(3)


class Switched:
    def describe(self):
        return []

    def collect(self):
        if (NOTES / "raise").exists():
            raise RuntimeError("planted: no metrics")
        while (NOTES / "hang").exists():
            (NOTES / "hangs").touch()
            time.sleep(0.01)
        yield CounterMetricFamily("planted_switched", "Of a collector of the application.", value=7)


REGISTRY.register(Switched())
exec(os.environ.get("EXTRA", ""))


def count(query):
    kind = parse_qs(query).get("kind", ["book"])[0]
    ORDERS.labels(kind, "shop").inc()
    SIZES.observe(5)
    PRICES.labels(kind).observe(2.5)
    return str(os.getpid()).encode()


def app(environ, start_response):
    if environ["PATH_INFO"] == "/dies":
        os._exit(3)
    start_response("200 OK", [])
    return [count(environ["QUERY_STRING"])]


async def loop(scope, receive, send):
    if scope["type"] == "lifespan":
        raise NotImplementedError
    body = count(scope["query_string"].decode())
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": body})
