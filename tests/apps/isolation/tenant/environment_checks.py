"""The environment, as a tenant and the processes it starts see it: each returns its name."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import identity

HERE = os.path.dirname(__file__)


def environment() -> str:
    assert os.environ["TENANT"] == os.getenv("TENANT") == os.environb[b"TENANT"].decode()
    assert dict(os.environ)["TENANT"] == os.environ.copy()["TENANT"]
    assert "TENANT" in os.environ and "TENANT" in list(os.environ)
    assert os.path.expandvars("$TENANT") == os.environ["TENANT"]
    return os.environ["TENANT"]


def environment_of_a_thread() -> str:
    with ThreadPoolExecutor() as pool:
        return pool.submit(environment).result()


def environment_at_load() -> str:
    return identity.AT_LOAD


def changed_environment() -> str:
    os.environ["CHANGED"] = identity.NAME
    os.environ.setdefault("CHANGED", "no")
    os.environ["DELETED"] = "x"
    del os.environ["DELETED"]
    assert "DELETED" not in os.environ
    os.environb[b"BYTES"] = b"\xff"
    assert os.environ["BYTES"] == "\udcff"
    return os.environ["CHANGED"]


def deleted_from_the_server() -> str:
    """What Caddy was started with can be deleted, for this app."""
    assert os.environ.pop("FROM_OUTSIDE", "yes") == "yes"
    assert "FROM_OUTSIDE" not in os.environ
    assert subprocess.run(["printenv", "FROM_OUTSIDE"]).returncode == 1
    return os.environ["TENANT"]


def from_the_server(name: str) -> str | None:
    return os.environ.get(name)


PRINT = [sys.executable, "-c", "import os; print(os.environ['TENANT'], end='')"]


def subprocess_environment() -> str:
    return subprocess.check_output(["printenv", "TENANT"], text=True).strip()


def subprocess_of_python() -> str:
    return subprocess.check_output(PRINT, text=True)


def subprocess_with_own_environment() -> str:
    env = {"TENANT": "given", "PATH": os.environ["PATH"]}
    assert subprocess.check_output(["printenv", "TENANT"], text=True, env=env) == "given\n"
    return os.environ["TENANT"]


def os_system() -> str:
    path = os.path.join(HERE, "system.txt")
    assert os.system(f"printenv TENANT > {path}") == 0
    assert os.waitstatus_to_exitcode(os.system("exit 3")) == 3
    with open(path) as file:
        return file.read().strip()


def os_popen() -> str:
    with os.popen("printenv TENANT") as output:
        return output.read().strip()


def spawned() -> str:
    path = os.path.join(HERE, "spawned.txt")
    command = ["sh", "-c", f"printenv TENANT > {path}"]
    assert os.spawnvp(os.P_WAIT, "sh", command) == 0
    with open(path) as file:
        return file.read().strip()


def posix_spawned() -> str:
    path = os.path.join(HERE, "posix_spawned.txt")
    child = os.posix_spawn("/bin/sh", ["sh", "-c", f"printenv TENANT > {path}"], os.environ)
    assert os.waitpid(child, 0)[1] == 0
    with open(path) as file:
        return file.read().strip()


async def asyncio_subprocess() -> str:
    process = await asyncio.create_subprocess_exec(
        "printenv", "TENANT", stdout=asyncio.subprocess.PIPE
    )
    output, _ = await process.communicate()
    return output.decode().strip()


def multiprocessing_spawn() -> str:
    import multiprocessing

    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(os.getenv, ("TENANT",))


def temporary_directory() -> str:
    """TMPDIR of one app is not the other's."""
    return os.path.basename(os.environ["TMPDIR"])
