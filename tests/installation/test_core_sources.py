"""The C core is in a folder without Go files: every way to build finds it, and sees its changes."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from harness.settings import REPOSITORY

sys.path.insert(0, str(REPOSITORY / "tools"))

import main_module

pytestmark = pytest.mark.timeout(600)

GO = os.environ.get("GO", "go")
CORE = sorted(path.name for path in (REPOSITORY / "core").iterdir())


def tracked() -> list[str]:
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=True)
    return [name for name in done.stdout.splitlines() if (REPOSITORY / name).is_file()]


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """A copy of the repository."""
    for name in tracked():
        (tmp_path / "copy" / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(REPOSITORY / name, tmp_path / "copy" / name)
    return tmp_path / "copy"


def compiled(copy: Path) -> bytes:
    """The plugin's package as `go build` has it now."""
    environment = {**os.environ, "PKG_CONFIG": str(copy / "tools" / "pkg-config")}
    environment.setdefault("CADDYSNAKE_PYTHON", sys.executable)
    command = [GO, "list", "-export", "-f", "{{.Export}}", "."]
    done = subprocess.run(command, cwd=copy, env=environment, stdout=subprocess.PIPE, check=True)
    return Path(done.stdout.decode().strip()).read_bytes()


def replace(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert text.count(old) == 1
    path.write_text(text.replace(old, new))


def test_a_change_in_the_core_is_built(copy: Path) -> None:
    message = "a request's head does not fit into its buffer"
    assert message.encode() in compiled(copy)
    replace(copy / "core" / "head.c", f'"{message}"', "SNAKE_MISFIT")
    include = '#include "cursor.h"\n'
    replace(copy / "core" / "core.h", include, f'{include}#define SNAKE_MISFIT "the first"\n')
    assert b"the first" in compiled(copy)
    replace(copy / "core" / "core.h", '"the first"', '"the second"')
    assert b"the second" in compiled(copy)


def test_go_mod_vendor_copies_the_core(tmp_path: Path) -> None:
    main_module.write(tmp_path, REPOSITORY, "caddy", "1.0.0")
    environment = {name: value for name, value in os.environ.items() if name != "GOFLAGS"}
    subprocess.run([GO, "mod", "vendor"], cwd=tmp_path, env=environment, check=True)
    vendored = tmp_path / "vendor" / main_module.PLUGIN / "core"
    for name in CORE:
        assert (vendored / name).read_bytes() == (REPOSITORY / "core" / name).read_bytes()
