"""The Autobahn test suite against an app that echoes (conformance K23).

`make autobahn` runs every case. Otherwise the compression sections, which send a thousand messages
of each size with each set of parameters, are limited to the sizes of `FEW`.
"""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from harness.caddyfile import asgi
from harness.plugin import Serve
from harness.ports import HOST
from harness.server import Server
from harness.settings import AUTOBAHN

pytestmark = pytest.mark.conformance("K23")

ALL = "CADDYSNAKE_AUTOBAHN_ALL" in os.environ
# 16 B, 4 KiB, and 8 KiB in fragments of 256 B.
FEW = [1, 5, 11]
SIZES = range(1, 19) if ALL else FEW
# How long a section of all cases may take on a slow machine; one of few takes some seconds.
DEADLINE = 900 if ALL else 80

# The sections by what they try, with the number of their cases: one that was not run can't pass.
SECTIONS = {
    "framing": ("1", 16),
    "pings": ("2", 11),
    "reserved_bits": ("3", 7),
    "opcodes": ("4", 10),
    "fragments": ("5", 20),
    "utf8": ("6", 145),
    "closing": ("7", 37),
    "limits": ("9", 54),
    "many_fragments": ("10", 1),
}
COMPRESSION = [f"12.{i}" for i in range(1, 6)] + [f"13.{i}" for i in range(1, 8)]
# Sections that offer nothing but a smaller window for what the server sends. That is declined.
DECLINED = {"13.3", "13.5"}

Case = dict[str, Any]


@pytest.fixture(scope="module")
def server(serve_module: Serve) -> Server:
    return serve_module(asgi("websocket_echo:app", "lifespan off"))


def run(server: Server, folder: Path, cases: list[str]) -> dict[str, Case]:
    """What the suite's client reports of the cases, by their numbers."""
    wstest = AUTOBAHN / "bin" / "wstest"
    assert wstest.exists(), f"no {wstest}: tests/autobahn/install {AUTOBAHN}"
    specification = {
        "outdir": str(folder / "report"),
        "options": {"failByDrop": False},
        "servers": [{"agent": "caddysnake", "url": f"ws://{HOST}:{server.port}"}],
        "cases": cases,
        "exclude-cases": [],
        "exclude-agent-cases": {},
    }
    path = folder / "specification.json"
    path.write_text(json.dumps(specification))
    done = subprocess.run(
        [str(wstest), "--mode", "fuzzingclient", "--spec", str(path)],
        cwd=folder,
        env={**os.environ, "PYTHONUSERBASE": str(AUTOBAHN)},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=DEADLINE,
    )
    assert done.returncode == 0, done.stdout
    found: dict[str, dict[str, Case]] = json.loads((folder / "report/index.json").read_text())
    return found["caddysnake"]


def failures(cases: dict[str, Case], passing: set[str], folder: Path) -> list[str]:
    """The cases that did not pass, each with the file that tells what was sent and received."""
    return [
        f"{number}: {case['behavior']}, closing {case['behaviorClose']}"
        f" ({folder / 'report' / case['reportfile']})"
        for number, case in cases.items()
        if case["behavior"] not in passing or case["behaviorClose"] not in {"OK", "INFORMATIONAL"}
    ]


@pytest.mark.timeout(DEADLINE + 60)
@pytest.mark.parametrize(("section", "number"), SECTIONS.values(), ids=SECTIONS)
def test_the_protocol(server: Server, tmp_path: Path, section: str, number: int) -> None:
    cases = run(server, tmp_path, [f"{section}.*"])
    assert len(cases) == number
    assert failures(cases, {"OK", "NON-STRICT", "INFORMATIONAL"}, tmp_path) == []


@pytest.mark.conformance("K14")
@pytest.mark.timeout(DEADLINE + 60)
@pytest.mark.parametrize("section", COMPRESSION)
def test_compression(server: Server, tmp_path: Path, section: str) -> None:
    cases = run(server, tmp_path, [f"{section}.{size}" for size in SIZES])
    assert len(cases) == len(SIZES)
    expected = "UNIMPLEMENTED" if section in DECLINED else "OK"
    assert failures(cases, {expected}, tmp_path) == []
