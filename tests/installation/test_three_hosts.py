"""Three hosts behind a balancer: a release rolls over them, one dies, and no request is lost.

Each host is a network namespace, so the tests need root, as those of installations do.
"""

from __future__ import annotations

import re
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness.crowd import Crowd
from harness.hosts import Hosts
from harness.python_server import problems_in
from harness.settings import REPOSITORY, VENV
from harness.waiting import wait_for

APP = """
import time

VERSION = "{version} of {host}"


def app(environ, start_response):
    time.sleep(0.005)
    start_response("200 OK", [("X-Version", VERSION)])
    return [VERSION.encode()]
"""
SITE = """\
	handle /ready {{
		python_ready
	}}
	handle {{
		python main:app {{
			working_dir {current}
			venv {venv}
			workers 1
			probe /
		}}
	}}"""
PAGE = (REPOSITORY / "docs" / "deploying.md").read_text()


def options_of_the_page() -> str:
    """Those of its balancer, without the addresses."""
    found = re.search(r"\treverse_proxy [a-z0-9: ]+(\{\n.*?\n\t\})", PAGE, re.DOTALL)
    assert found is not None
    return found[1]


def release(folder: Path, host: int, version: str) -> Path:
    made = folder / f"site-{host}" / "releases" / version
    made.mkdir(parents=True)
    (made / "main.py").write_text(APP.format(version=version, host=host))
    return made


@pytest.fixture
def hosts(tmp_path: Path) -> Iterator[Hosts]:
    sites = []
    for host in (1, 2, 3):
        release(tmp_path, host, "one")
        current = tmp_path / f"site-{host}" / "current"
        current.symlink_to("releases/one")
        sites.append(SITE.format(current=current, venv=VENV))
    with Hosts(tmp_path, sites, options_of_the_page()) as hosts:
        yield hosts


def await_answers(crowd: Crowd, *versions: str) -> None:
    """Waits until each of these answers comes, from now on."""
    before = crowd.answers.copy()

    def come() -> bool:
        return all(crowd.answers[200, each] > before[200, each] + 5 for each in versions)

    wait_for(come, lambda: f"answers of {versions}; {crowd.answers}", 60)


def versions(version: str, *hosts: int) -> list[str]:
    return [f"{version} of {host}" for host in hosts]


def test_a_release_rolls_over_three_hosts_and_one_dies(hosts: Hosts, tmp_path: Path) -> None:
    with Crowd(hosts, 16) as crowd:
        await_answers(crowd, *versions("one", 1, 2, 3))
        for number, host in enumerate(hosts.hosts, 1):
            done = host.command("deploy", str(release(tmp_path, number, "two")))
            assert done.returncode == 0, done.stderr
            await_answers(crowd, f"two of {number}")
        broken = release(tmp_path, 1, "three")
        (broken / "main.py").write_text("import nowhere\n")
        done = hosts.hosts[0].command("deploy", str(broken))
        assert (done.returncode, "No module named 'nowhere'" in done.stderr) == (1, True)
        await_answers(crowd, *versions("two", 1, 2, 3))

        hosts.hosts[2].end(signal.SIGKILL)
        seen = crowd.answers[200, "two of 3"]
        await_answers(crowd, *versions("two", 1, 2))
        assert crowd.answers[200, "two of 3"] <= seen + 1
        hosts.hosts[2].start()
        await_answers(crowd, *versions("two", 1, 2, 3))

        hosts.hosts[1].end(signal.SIGTERM)  # an orderly stop, as for maintenance
        await_answers(crowd, *versions("two", 1, 3))
    assert crowd.failures == []
    assert crowd.reconnects == 0
    assert {status for status, _ in crowd.answers} == {200}
    for host in hosts.hosts[1:]:
        assert problems_in(host.log) == []
