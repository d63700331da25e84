"""What an application counts with ``prometheus_client``, for Caddy's metrics (`app_metrics`).

The answer is lines of JSON, which app_metrics_parse.go reads: an object about the whole, and for
each metric an object, followed by an array for each of its series.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator, Mapping
from typing import Any

# The same limits as in app_metrics_parse.go.
_MAX_SAMPLES = 10_000
_MAX_BYTES = 4 << 20
_MAX_HELP = 1000  # characters

# What the package itself says about the process: in Caddy's process it is that of no application,
# and what holds for each of several workers can't be added up.
_OF_PROCESS = frozenset(
    {
        "python_info",
        "python_gc_objects_collected",
        "python_gc_objects_uncollectable",
        "python_gc_collections",
        "process_virtual_memory_bytes",
        "process_resident_memory_bytes",
        "process_start_time_seconds",
        "process_cpu_seconds",
        "process_open_fds",
        "process_max_fds",
    }
)

# Then the counters of a process may contain those of others: of the same process before a reload,
# or of an earlier one that had its number.
_SHARED = "{} is set; Caddy adds up the workers itself: remove the variable"
_MULTIPROCESS = ("PROMETHEUS_MULTIPROC_DIR", "prometheus_multiproc_dir")

Labels = tuple[tuple[str, str], ...]


def _labels(labels: Mapping[str, Any], without: str = "") -> Labels:
    return tuple((str(name), str(labels[name])) for name in sorted(labels) if name != without)


def _head(name: str, family: Any, kind: str, mode: str) -> str:
    text = str(family.documentation)[:_MAX_HELP]
    return json.dumps({"name": name, "type": kind, "mode": mode, "help": text})


def _series(labels: Labels, *values: str) -> str:
    return json.dumps([[part for label in labels for part in label], values])


def _number(value: Any) -> str:
    return repr(float(value))  # JSON has no NaN


def _distribution(family: Any) -> Iterator[tuple[list[str], int]]:
    """A histogram, or a summary without its quantiles: these can't be added up."""
    values: dict[Labels, dict[str, str]] = {}
    bounds: dict[Labels, dict[float, str]] = {}
    for sample in family.samples:
        suffix = sample.name.removeprefix(family.name)
        if suffix == "_bucket" and "le" in sample.labels:
            labels = _labels(sample.labels, "le")
            bounds.setdefault(labels, {})[float(sample.labels["le"])] = _number(sample.value)
        elif suffix in ("_sum", "_count"):
            labels = _labels(sample.labels)
            values.setdefault(labels, {})[suffix] = _number(sample.value)
    lines = [_head(family.name, family, family.type, "")]
    count = 0
    for labels in values | bounds:
        found = bounds.get(labels, {})
        numbers = [part for le in sorted(found) for part in (_number(le), found[le])]
        total = values.get(labels, {})
        # prometheus_client has no sum where a bound is negative.
        lines.append(
            _series(labels, total.get("_sum", "nan"), total.get("_count", "nan"), *numbers)
        )
        count += 2 + len(found)
    yield lines, count


def _simple(family: Any, mode: str) -> Iterator[tuple[list[str], int]]:
    """Any other metric. The suffixes of its samples are names of their own, as in the text that
    Prometheus reads."""
    kind = family.type
    if kind in ("info", "stateset"):
        kind, mode = "gauge", "max"  # 1 in any process is 1
    found: dict[str, list[str]] = {}
    for sample in family.samples:
        if sample.name == f"{family.name}_created":
            continue
        lines = found.setdefault(sample.name, [_head(sample.name, family, kind, mode)])
        lines.append(_series(_labels(sample.labels), _number(sample.value)))
    for lines in found.values():
        yield lines, len(lines) - 1


def _mode(registry: Any, family: Any) -> str:
    """Returns how a gauge is added up over processes. Its ``multiprocess_mode`` is not public."""
    if family.type != "gauge":
        return ""
    collector = getattr(registry, "_names_to_collectors", {}).get(family.name)
    return str(getattr(collector, "_multiprocess_mode", "all")).removeprefix("live")


def _families(registry: Any) -> Iterator[tuple[list[str], int]]:
    """Yields the lines of each metric, and the number of its samples."""
    for family in registry.collect():
        if family.name in _OF_PROCESS:
            continue
        if family.type in ("histogram", "summary"):
            yield from _distribution(family)
        elif family.type != "gaugehistogram":
            yield from _simple(family, _mode(registry, family))


def collect() -> str:
    """Runs the collectors of the current application.

    Raises:
        BaseException: any exception that a collector raises.
    """
    module: Any = sys.modules.get("prometheus_client")  # it is not imported for the application
    registry = getattr(module, "REGISTRY", None)
    lines: list[str] = []
    left_out = samples = size = 0
    if registry is not None:
        for name in _MULTIPROCESS:
            if name in os.environ:
                return json.dumps({"error": _SHARED.format(name)})
        for family, count in _families(registry):
            needed = sum(map(len, family)) + len(family)
            if samples + count > _MAX_SAMPLES or size + needed > _MAX_BYTES:
                left_out += 1
                continue
            samples += count
            size += needed
            lines += family
    return "\n".join([json.dumps({"left_out": left_out}), *lines])
