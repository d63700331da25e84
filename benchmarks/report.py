"""Summarises samples: statistics over the rounds, Markdown tables, the JSON file."""

import json
import os
import platform
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import fmean, median
from typing import Any

from measure import Sample
from targets import BASELINE, GRANIAN, PLUGIN, Target

BEST = 3  # the number of rounds in "best"


@dataclass(frozen=True, slots=True)
class Summary:
    """The figures of a target over all rounds. "Extra" is the CPU time per request above that of
    `respond`."""

    rps: float
    p50_ms: float
    p99_ms: float
    cpu_us: float
    extra_us: float  # median of the differences to the baseline of the same round
    best_cpu_us: float  # mean of the three cheapest rounds
    best_extra_us: float  # best_cpu_us minus that of the baseline
    quiet_rounds: int
    failed: int


def summarise(samples: Sequence[Sample], baseline: Sequence[Sample]) -> Summary:
    """Returns medians over the rounds in which the machine was quiet; over all if there are fewer
    than three."""
    pairs = list(zip(samples, baseline, strict=True))
    quiet = [(sample, base) for sample, base in pairs if sample.quiet and base.quiet]
    used = quiet if len(quiet) >= BEST else pairs
    best = _best(sample.cpu_us for sample, _ in used)
    return Summary(
        rps=median(sample.rps for sample, _ in used),
        p50_ms=median(sample.p50_ms for sample, _ in used),
        p99_ms=median(sample.p99_ms for sample, _ in used),
        cpu_us=median(sample.cpu_us for sample, _ in used),
        extra_us=median(sample.cpu_us - base.cpu_us for sample, base in used),
        best_cpu_us=best,
        best_extra_us=best - _best(base.cpu_us for _, base in used),
        quiet_rounds=len(quiet),
        failed=sum(sample.failed for sample in samples),
    )


def _best(values: Iterable[float]) -> float:
    return fmean(sorted(values)[:BEST])


def main_table(summaries: Mapping[Target, Summary], rounds: int) -> str:
    """One row per target."""
    lines = [
        "| target | req/s | p50 ms | p99 ms | CPU µs/req | + respond"
        f" | best {BEST} | + respond | quiet | failed |",
        "|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|",
    ]
    for target, s in summaries.items():
        name = target.name + (" ← Caddy" if target.proxied else "")
        extra = (
            ["", ""] if target == BASELINE else [f"{s.extra_us:+.1f}", f"{s.best_extra_us:+.1f}"]
        )
        cells = [name, f"{s.rps:,.0f}", f"{s.p50_ms:.2f}", f"{s.p99_ms:.2f}", f"{s.cpu_us:.1f}"]
        cells += [extra[0], f"{s.best_cpu_us:.1f}", extra[1]]
        cells += [f"{s.quiet_rounds}/{rounds}", str(s.failed)]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def ratio_table(summaries: Mapping[Target, Summary]) -> str:
    """Returns a table of the plugin's requests per second, as multiples of the proxied servers'."""
    rps = {(t.server, t.app): s.rps for t, s in summaries.items() if t.app}
    rows = []
    for (server, app), plugin_rps in rps.items():
        if server != PLUGIN or app is None:
            continue
        other = app.servers[-1]
        ratios = [
            f"{plugin_rps / rps[name, app]:.1f} ({name})" if (name, app) in rps else ""
            for name in (GRANIAN, other)
        ]
        if any(ratios):
            rows.append(f"| {app.label} | {ratios[0]} | {ratios[1]} |")
    if not rows:
        return ""
    head = f"| req/s of {PLUGIN}, times that of Caddy → | granian | uvicorn, gunicorn |"
    return "\n".join([head, "|---|--:|--:|", *rows])


def machine() -> dict[str, Any]:
    """Describes the machine that the figures depend on."""
    with open("/proc/cpuinfo") as cpuinfo:
        models = [line.partition(":")[2].strip() for line in cpuinfo if "model name" in line]
    return {
        "cpu": models[0] if models else platform.machine(),
        "cores": os.cpu_count(),
        "kernel": platform.release(),
    }


def write_json(
    path: Path,
    setup: Mapping[str, Any],
    summaries: Mapping[Target, Summary],
    samples: Mapping[Target, Sequence[Sample]],
) -> None:
    """Writes the set-up, the figures of the table, and the samples of each window."""
    document = {
        **setup,
        "targets": [
            {
                "name": target.name,
                "summary": asdict(summary),
                "samples": [asdict(sample) for sample in samples[target]],
            }
            for target, summary in summaries.items()
        ],
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(document, indent=2) + "\n")
