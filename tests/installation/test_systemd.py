"""systemd itself runs examples/systemd, as its README says, with the standalone archive's Caddy."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness.example import EXAMPLES
from harness.roots import PATH, MakeRoot, Root
from harness.systemd import PACKAGES, Machine
from harness.waiting import wait_for

pytestmark = pytest.mark.timeout(900)

ARCHIVE = Path(os.environ["CADDYSNAKE_ARCHIVE"])
ARCHIVE_AT = "/opt/caddysnake"
CLONE = "/srv/systemd"
CODE = "/srv/guestbook/guestbook.py"
README = (EXAMPLES / "systemd" / "README.md").read_text()
URL = "localhost:9080"
# Clients that ask, each time on a new connection, until the file is there; they print failures.
CLIENTS = f"""
for client in 1 2 3 4 5 6 7 8; do
    until [ -e /run/over ]; do
        curl --silent --show-error --fail --max-time 60 --output /dev/null {URL} || echo "lost: $?"
        echo >>/run/answers
    done &
done
wait
"""


def commands() -> list[str]:
    """Those that install the example. The archive has the Python that they need."""
    found = re.findall(r"^    (\S.*)$", README, re.MULTILINE)
    assert found[0].startswith("mkdir")
    assert found[-1].startswith("systemctl enable")
    return [command.replace("python3 ", f"{ARCHIVE_AT}/bin/python3 ") for command in found]


@pytest.fixture(scope="module")
def machine(make_root: MakeRoot, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    root: Root = make_root(*PACKAGES, "curl")
    root.host_path(ARCHIVE_AT).mkdir()
    unpack = ["tar", "-xf", str(ARCHIVE), "-C", str(root.host_path(ARCHIVE_AT))]
    subprocess.run([*unpack, "--strip-components=1"], check=True)
    root.host_path("/usr/local/bin/caddy").symlink_to(f"{ARCHIVE_AT}/bin/caddy")
    root.add(EXAMPLES / "systemd", CLONE)
    *install, enable = commands()
    for command in install:
        root.run("sh", "-ec", command, cwd=CLONE, fetching=True)
    with Machine(root, tmp_path_factory.mktemp("machine")) as machine:
        machine.run("sh", "-ec", enable)
        yield machine


def state(machine: Machine) -> str:
    return machine.attempt("systemctl", "is-active", "guestbook").stdout.strip()


def names(machine: Machine) -> str:
    return machine.run("curl", "--silent", "--show-error", "--fail", URL)


def edit(machine: Machine, old: str, new: str) -> None:
    machine.run("sed", "--in-place", f"s/{old}/{new}/", CODE)


def test_the_service_is_up_when_systemctl_says_so(machine: Machine) -> None:
    assert state(machine) == "active"
    assert machine.run("curl", "--silent", "--data", "name=Ada", URL) == '["Ada"]\n'
    assert names(machine) == '["Ada"]\n'


def test_the_service_has_no_rights(machine: Machine) -> None:
    pid = machine.run("systemctl", "show", "--property=MainPID", "--value", "guestbook").strip()
    status = dict(re.findall(r"^(\w+):\t(.*)$", machine.run("cat", f"/proc/{pid}/status"), re.M))
    assert "0" not in status["Uid"].split()
    rights = {name: int(value, 16) for name, value in status.items() if name.startswith("Cap")}
    assert set(rights.values()) == {0}
    assert (status["NoNewPrivs"], status["Seccomp"]) == ("1", "2")


def test_a_reload_serves_new_code_and_keeps_the_old_if_that_fails(machine: Machine) -> None:
    edit(machine, "return \\[name for", "return [2 for")
    machine.run("systemctl", "reload", "guestbook")
    assert re.fullmatch(r"\[2(,2)*\]\n", names(machine))
    machine.run("cp", CODE, "/run/good.py")
    machine.run("sh", "-c", f"echo '1 / 0' >{CODE}")
    assert machine.attempt("systemctl", "reload", "guestbook").returncode != 0
    assert state(machine) == "active"
    assert re.fullmatch(r"\[2(,2)*\]\n", names(machine))
    machine.run("cp", "/run/good.py", CODE)
    edit(machine, "return \\[2 for", "return [name for")
    machine.run("systemctl", "reload", "guestbook")


def test_no_client_is_refused_while_the_service_starts_again(machine: Machine) -> None:
    clients = subprocess.Popen(
        machine.command("sh", "-c", CLIENTS), env={"PATH": PATH}, stdout=subprocess.PIPE, text=True
    )

    def answers() -> int:
        return int(machine.run("sh", "-c", "cat /run/answers 2>/dev/null | wc -l"))

    for _ in range(2):
        before = answers()
        wait_for(lambda before=before: answers() > before + 50, "answers", 30)
        machine.run("systemctl", "restart", "guestbook")
    before = answers()
    wait_for(lambda: answers() > before + 50, "answers", 30)
    machine.run("touch", "/run/over")
    said, _ = clients.communicate(timeout=90)
    # Caddy closes a connection whose request it has not read yet when it stops: those ask again.
    assert set(said.splitlines()) <= {"lost: 52", "lost: 56"}


def test_a_service_that_is_killed_is_started_again(machine: Machine) -> None:
    def pid() -> str:
        return machine.run("systemctl", "show", "--property=MainPID", "--value", "guestbook")

    before = pid()
    machine.run("systemctl", "kill", "--signal=KILL", "guestbook")
    wait_for(lambda: state(machine) == "active" and pid() != before, "the service", 60)
    names(machine)


def test_a_service_that_can_not_load_its_application_fails(machine: Machine) -> None:
    def ended() -> set[str]:
        properties = ["--property=Result", "--property=ExecMainStatus"]
        return set(machine.run("systemctl", "show", *properties, "guestbook").split())

    machine.run("systemctl", "stop", "guestbook")
    assert ended() == {"Result=success", "ExecMainStatus=0"}
    machine.run("mv", CODE, "/run/good.py")
    machine.run("sh", "-c", f"echo '1 / 0' >{CODE}")
    machine.attempt("systemctl", "start", "guestbook")  # Caddy says READY=1 even now
    wait_for(lambda: ended() == {"Result=exit-code", "ExecMainStatus=1"}, "the failure", 60)
    assert "ZeroDivisionError" in machine.run("journalctl", "--unit=guestbook", "--no-pager")
    machine.run("mv", "/run/good.py", CODE)
    machine.run("systemctl", "reset-failed", "guestbook.service", "guestbook.socket")
    machine.run("systemctl", "start", "guestbook.socket", "guestbook")
    names(machine)
