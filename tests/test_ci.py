"""What `.ci/run` does: with commands that only write down how they were called."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from harness import roots
from harness.emulated_root import refusal
from harness.python_roots import RELEASES, main
from harness.pythons import MINORS
from harness.settings import REPOSITORY

# Makes a root, as make does in CI, and fails if it is asked for a goal that is named like $FAILING.
COMMAND = """#!/bin/sh
echo "$(basename "$0") $*" >>"$CALLS"
mkdir -p "$CADDYSNAKE_ROOTS/sid/usr"
test "$1" != "$FAILING"
"""


class Run:
    """One run of the script, to its end."""

    def __init__(self, directory: Path, failing: str = "nothing") -> None:
        folder = directory / "bin"
        folder.mkdir()
        for name in ("make", "apt-get"):
            (folder / name).write_text(COMMAND)
            (folder / name).chmod(0o755)
        (folder / "python3").symlink_to(sys.executable)
        calls, temporary = directory / "calls", directory / "tmp"
        temporary.mkdir()
        path = f"{folder}:{os.environ['PATH']}"
        env = {"PATH": path, "CALLS": str(calls), "FAILING": failing, "TMPDIR": str(temporary)}
        done = subprocess.run(
            [REPOSITORY / ".ci" / "run"], env=env, capture_output=True, text=True, timeout=60
        )
        self.code, self.output = done.returncode, done.stdout
        self.calls = calls.read_text().splitlines()
        self.left_behind = list(temporary.iterdir())


def test_ci_leaves_nothing_out(tmp_path: Path) -> None:
    run = Run(tmp_path)
    assert run.code == 0
    whole = "{}.{}".format(*sys.version_info)  # on which make test runs
    smoke = [f"make smoke-{minor} MISSING=root" for minor in MINORS if minor != whole]
    assert [call for call in run.calls if "smoke" in call] == smoke
    assert "make test AUTOBAHN=required" in run.calls
    assert "make fuzz FUZZ_SECONDS=60" in run.calls
    assert "make test-asan" in run.calls
    assert "make test-installation MISSING=root" in run.calls


def test_ci_says_how_long_each_step_took(tmp_path: Path) -> None:
    run = Run(tmp_path)
    steps = [call for call in run.calls if "fuzz" not in call]  # which run beside one of these
    durations = run.output.splitlines()[-len(steps) - 2 :]
    shown = [line.partition(" s  ")[2] for line in durations]
    assert shown == [*steps, "await_fuzzers", "in all"]


def test_ci_fails_with_the_fuzzers_though_they_run_beside_it(tmp_path: Path) -> None:
    run = Run(tmp_path, "fuzz")
    assert run.code != 0
    assert "make test-installation MISSING=root" in run.calls
    assert "await_fuzzers: failed with code 1" in run.output


@pytest.mark.parametrize("failing", ["", "smoke-3.14"])
def test_ci_removes_its_roots(tmp_path: Path, failing: str) -> None:
    assert Run(tmp_path, failing).left_behind == []


def test_ci_ends_with_the_first_failure(tmp_path: Path) -> None:
    run = Run(tmp_path, "smoke-3.13")
    assert run.code != 0
    assert run.calls[-1] == "make smoke-3.13 MISSING=root"
    assert "make smoke-3.13 MISSING=root: failed with code 1" in run.output


def test_a_python_that_no_debian_has_is_an_error() -> None:
    assert RELEASES.keys() <= set(MINORS)
    for minor in set(MINORS) - RELEASES.keys():
        assert f"pyenv install {minor}" in str(main(minor, "true"))


def test_a_machine_without_roots_is_not_emulated() -> None:
    assert refusal("riscv64") == f"riscv64 is not a machine to emulate on {roots.MACHINE}"


def test_a_missing_emulator_is_an_error_that_names_the_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(roots.shutil, "which", lambda name: name)
    monkeypatch.setattr(roots, "EMULATORS", tmp_path)
    [other] = roots.DEBIAN_NAMES.keys() - {roots.MACHINE}
    assert f"update-binfmts --enable qemu-{other}" in str(refusal(other))
    (tmp_path / f"qemu-{other}").touch()
    assert refusal(other) is None
