"""Local time is one for the process: applications get what they ask for, or are refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.acting import ask, site
from harness.plugin import Serve

LOOK = "import time\ndef look(path): return time.tzname[0], time.localtime(0).tm_hour"
TOKYO = "os.environ['TZ'] = 'Asia/Tokyo'; import time; time.tzset()\n"
DJANGO = """
import time, types
module = sys.modules["site_settings"] = types.ModuleType("site_settings")
module.TIME_ZONE, module.USE_TZ = "{}", {}
os.environ["DJANGO_SETTINGS_MODULE"] = "site_settings"
from django.conf import settings
assert settings.TIME_ZONE == module.TIME_ZONE
def look(path):
    return time.tzname[0], time.localtime(0).tm_hour
"""


@pytest.mark.parametrize(
    ("code", "options"),
    [
        (TOKYO + LOOK, []),
        (LOOK, ["env_var TZ Asia/Tokyo"]),
        (DJANGO.format("Asia/Tokyo", False), []),
        (DJANGO.format("Asia/Tokyo", True), []),
    ],
    ids=["tzset", "env_var", "Django", "Django with USE_TZ"],
)
def test_an_application_gets_its_time_zone(
    serve: Serve, tmp_path: Path, code: str, options: list[str]
) -> None:
    server = serve(site(tmp_path, "acts", code, *options), canary=False, env={"TZ": "UTC"})
    assert ask(server, 0) == "('JST', 9)"


@pytest.mark.in_process("a worker has its own time zone")
@pytest.mark.parametrize("where", ["env_var", "tzset"])
def test_a_second_time_zone_is_refused(serve: Serve, tmp_path: Path, where: str) -> None:
    first = site(tmp_path, "first", TOKYO + LOOK)
    if where == "env_var":
        second = site(tmp_path, "second", LOOK, "env_var TZ Europe/Berlin")
    else:
        second = site(tmp_path, "second", TOKYO.replace("Asia/Tokyo", "Europe/Berlin") + LOOK)
    same = site(tmp_path, "same", LOOK, "env_var TZ Asia/Tokyo")
    server = serve(first, same, env={"TZ": "UTC"})
    server.allow_log("time zone")
    answer = server.load(first, second)
    assert answer.status == 400
    assert "a process of its own" in answer.text
    assert ask(server, 0) == ask(server, 1) == "('JST', 9)"
    server.write(first, same)


def test_an_application_may_change_its_time_zone(serve: Serve, tmp_path: Path) -> None:
    server = serve(site(tmp_path, "acts", LOOK, "env_var TZ Asia/Tokyo"), env={"TZ": "UTC"})
    changed = site(tmp_path, "acts", LOOK, "env_var TZ Europe/Berlin")
    assert server.load(changed).status == 200
    assert ask(server, 0) == "('CET', 1)"


@pytest.mark.in_process("a worker has its own time zone")
def test_sites_with_aware_times_may_differ(serve: Serve, tmp_path: Path) -> None:
    sites = [
        site(tmp_path, name, DJANGO.format(zone, True))
        for name, zone in (("one", "Asia/Tokyo"), ("two", "Europe/Berlin"))
    ]
    server = serve(*sites, env={"TZ": "UTC"})
    assert ask(server, 0) == ask(server, 1) == "('UTC', 0)"
