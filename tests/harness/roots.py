"""Debian roots that debootstrap makes: each stands in for a clean machine, or for a container.

A root shares nothing with this machine but the kernel, the network, the hosts file and the clock.
What a command in it needs mounted is mounted for that command alone, in a mount namespace that ends
with its last process, so there is nothing to unmount afterwards. Takes root's rights.
"""

from __future__ import annotations

import ast
import functools
import os
import platform
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from harness.settings import REPOSITORY

# Debian 13, and 12 for what must work on an older one.
RELEASE, OLDER = "trixie", "bookworm"
# This machine's instructions, as `uname -m` names them, and Debian's names of those with roots.
MACHINE = platform.machine()
DEBIAN_NAMES = {"x86_64": "amd64", "aarch64": "arm64"}
# Roots to copy, one per release, machine and set of packages. `make clean` removes those in .tools.
CACHE = Path(os.environ.get("CADDYSNAKE_ROOTS", REPOSITORY / ".tools" / "roots"))

HOME = "/root"
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
CERTIFICATES = "/etc/ssl/certs/ca-certificates.crt"
# Where files of this machine are in a root, for those commands that may have them.
OURS = "/run/machine"
# Where the kernel lists the emulators that it starts for programs of other machines.
EMULATORS = "/proc/sys/fs/binfmt_misc"
APT_FETCHING = re.compile(r"^Acquire::(?:https?|Check-\S+|Retries)\b.*;$", re.MULTILINE)
FETCHING = re.compile(r"(?i)\w+_proxy|no_proxy|PIP_\w+|GO(PROXY|NOPROXY|PRIVATE|SUMDB|NOSUMDB)")


class Root:
    """A root with these Debian packages, a copy of one that is cached; a context manager.

    Without packages it is what debootstrap calls minbase: Debian's essential packages and apt.
    """

    def __init__(
        self, path: Path, *packages: str, release: str = RELEASE, machine: str = MACHINE
    ) -> None:
        """Makes the root as the new directory `path`. `release` is Debian's code name of it.

        Programs of another `machine` are emulated.
        """
        _copy(_cached(release, machine, packages), path)
        self.path = path

    def __enter__(self) -> Root:
        return self

    def __exit__(self, *_: object) -> None:
        # Python's rmtree takes several times as long.
        subprocess.run(["rm", "-rf", str(self.path)], check=True)

    def host_path(self, path: str) -> Path:
        """Where a path in the root is for us."""
        return self.path / path.lstrip("/")

    def add(self, source: Path, target: str) -> str:
        """Copies a file or a folder to the path `target`; that path."""
        destination = self.host_path(target)
        destination.parent.mkdir(parents=True, exist_ok=True)
        if source.is_dir():
            ignored = shutil.ignore_patterns("__pycache__")
            shutil.copytree(source, destination, symlinks=True, ignore=ignored, dirs_exist_ok=True)
        else:
            shutil.copy(source, destination)
        return target

    def command(
        self,
        *arguments: str,
        cwd: str = "/",
        user: str = "root",
        env: Mapping[str, str] | None = None,
        shared: Mapping[str, Path] | None = None,
        fetching: bool = False,
        alone: bool = False,
    ) -> list[str]:
        """The command for us to execute, so that `arguments` are executed in the root.

        It is the same process from beginning to end, so signals reach it by the process id, and
        arguments that are appended are appended to `arguments`.

        cwd: its working directory, which must exist.
        user: a user name or number, with or without a group after a colon.
        env: variables in addition to PATH and HOME; nothing is inherited.
        shared: files and folders of this machine by the path that they get in the root.
        fetching: whether it gets what package clients use here to reach the network: proxies,
            mirrors, certificates. The latter for Go, too, if the root has certificates itself.
        alone: whether it is the first process of a process table of its own, and has a network of
            its own that leads nowhere. Signals then reach `unshare` instead; see `Container`.
        """
        variables = {"PATH": PATH, "HOME": HOME}
        mounts = dict(shared or {})
        if fetching:
            settings = _settings(self.host_path(CERTIFICATES).exists())
            for name, value in settings.items():
                if value.startswith("/") and Path(value).exists():
                    mounts[OURS + value] = Path(value)
                    value = OURS + value
                variables[name] = value
        variables.update(env or {})

        namespaces = ["--mount"]
        lines = []
        if alone:
            namespaces += ["--pid", "--net", "--fork", "--kill-child"]
            lines.append("ip link set lo up")
        lines += self._mount_lines(mounts)
        chroot = ["exec", "chroot", f"--userspec={user}", str(self.path), "env", "-i", "-C", cwd]
        pairs = [f"{name}={value}" for name, value in variables.items()]
        lines.append(shlex.join([*chroot, *pairs]) + ' "$@"')
        return ["unshare", *namespaces, "sh", "-ec", "\n".join(lines), "sh", *arguments]

    def mounted(self, *arguments: str, shared: Mapping[str, Path]) -> list[str]:
        """A command of this machine, during which `entrance` leads into the root."""
        lines = [*self._mount_lines(shared), 'exec "$@"']
        return ["unshare", "--mount", "sh", "-ec", "\n".join(lines), "sh", *arguments]

    def entrance(self, script: Path, program: str) -> Path:
        """Writes a script that executes a program of the root, with the arguments, variables and
        working directory of its caller, who is within `mounted`."""
        chroot = shlex.join(["chroot", str(self.path)])
        script.write_text(f'#!/bin/sh\nexec {chroot} env -C "$PWD" {shlex.quote(program)} "$@"\n')
        script.chmod(0o755)
        return script

    def _mount_lines(self, shared: Mapping[str, Path]) -> list[str]:
        """Shell commands that mount /proc, and files and folders of this machine, in the root."""
        lines = [shlex.join(["mount", "-t", "proc", "proc", str(self.path / "proc")])]
        for target, source in shared.items():
            inside = self.host_path(target)
            inside.parent.mkdir(parents=True, exist_ok=True)
            if source.is_dir():
                inside.mkdir(exist_ok=True)
            else:
                inside.touch()
            lines.append(shlex.join(["mount", "--bind", str(source), str(inside)]))
        return lines

    def attempt(
        self, *arguments: str, timeout: float = 900, **options: Any
    ) -> subprocess.CompletedProcess[str]:
        """Runs a command to its end, which may be a bad one. `options` are those of `command`."""
        return subprocess.run(
            self.command(*arguments, **options),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=timeout,
        )

    def run(self, *arguments: str, **options: Any) -> str:
        """The output of a command that must succeed."""
        done = self.attempt(*arguments, **options)
        assert done.returncode == 0, f"{shlex.join(arguments)}\n{done.stdout}"
        return done.stdout

    def has(self, program: str) -> bool:
        """Whether the root has this program on its PATH."""
        places = [self.host_path(folder) / program for folder in PATH.split(":")]
        return any(os.path.lexists(place) for place in places)


MakeRoot = Callable[..., Root]


@contextmanager
def new_folder() -> Iterator[Path]:
    """A new folder for a root, beside the cached ones, which is removed at the end."""
    CACHE.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="new-", dir=CACHE) as folder:
        yield Path(folder)


def go_caches(home: str = HOME) -> dict[str, Path]:
    """What Go has fetched and compiled in any root for the owner of this home, for `shared`.

    Go's cache depends on the paths of the sources, so each home has its own.
    """
    ours = CACHE / "go" / Path(home).name
    folders = {f"{home}/go/pkg/mod": ours / "mod", f"{home}/.cache/go-build": ours / "build"}
    for folder in folders.values():
        folder.mkdir(parents=True, exist_ok=True)
    return folders


def obstacle(machine: str = MACHINE) -> str | None:
    """Why there can be no roots of this machine here, and what to do about it."""
    if os.geteuid() != 0:
        return "Debian roots take root's rights: run this as root"
    if not (shutil.which("debootstrap") and shutil.which("ip")):
        return "Debian roots are made by debootstrap: apt-get install debootstrap iproute2"
    if machine != MACHINE and not Path(EMULATORS, f"qemu-{machine}").exists():
        return (
            f"The kernel has no emulator for programs of {machine}: apt-get install binfmt-support"
            f" qemu-user-static && update-binfmts --enable qemu-{machine}"
        )
    return None


def _copy(source: Path, target: Path) -> None:
    command = ["cp", "-a", "--reflink=auto", str(source), str(target)]
    subprocess.run(command, check=True)
    # Those of this machine, as in a container.
    for name in ("hosts", "resolv.conf"):
        shutil.copy(Path("/etc", name), target / "etc" / name)


def _cached(release: str, machine: str, packages: tuple[str, ...]) -> Path:
    others = [] if machine == MACHINE else [machine]
    cached = CACHE / "_".join([release, *others, *sorted(packages)])
    if cached.exists():
        return cached
    CACHE.mkdir(parents=True, exist_ok=True)
    unfinished = cached.with_name(f"{cached.name}.{os.getpid()}")
    try:
        if packages:
            root = Root(unfinished, release=release, machine=machine)
            apt = ["apt-get", "--quiet", "--yes", "--no-install-recommends"]
            apt += ["--option", "Dpkg::Options::=--force-unsafe-io"]  # which survives no power cut
            root.run("apt-get", "--quiet", "update", fetching=True)
            root.run(
                *apt, "install", *packages, env={"DEBIAN_FRONTEND": "noninteractive"}, fetching=True
            )
            root.run("sh", "-c", "apt-get clean; rm -r /var/lib/apt/lists/*")
        else:
            debootstrap = ["debootstrap", "--variant=minbase", f"--arch={DEBIAN_NAMES[machine]}"]
            debootstrap += [release, str(unfinished), _mirror()]
            done = subprocess.run(debootstrap, capture_output=True, text=True)
            assert done.returncode == 0, done.stdout
        unfinished.rename(cached)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)
    return cached


def _mirror() -> str:
    """The one that apt fetches this machine's release from."""
    release = platform.freedesktop_os_release()
    assert release["ID"] == "debian", "Debian's mirror is only known to a Debian"
    command = ["apt-get", "indextargets", "--format", "$(REPO_URI) $(RELEASE) $(COMPONENT)"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    for line in done.stdout.splitlines():
        uri, suite, component = line.split()
        if (suite, component) == (release["VERSION_CODENAME"], "main"):
            return uri
    raise LookupError(f"apt has no source for {release['VERSION_CODENAME']} main")


@functools.cache
def _apt_settings() -> Path:
    """A file with what apt is told here about fetching: proxies, mirrors that stand still."""
    dump = subprocess.run(["apt-config", "dump"], capture_output=True, text=True, check=True)
    file = CACHE / "apt.conf"
    CACHE.mkdir(parents=True, exist_ok=True)
    file.write_text("".join(f"{line}\n" for line in APT_FETCHING.findall(dump.stdout)))
    return file


def _settings(with_certificates: bool) -> dict[str, str]:
    """Variables that tell package clients what they are told here, in files or in variables."""
    found = {name: value for name, value in os.environ.items() if FETCHING.fullmatch(name)}
    command = [sys.executable, "-m", "pip", "config", "list"]
    configured = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    for line in configured.splitlines():
        key, _, value = line.partition("=")
        name = key.rpartition(".")[2].upper().replace("-", "_")
        found.setdefault(f"PIP_{name}", " ".join(ast.literal_eval(value).split()))
    found["APT_CONFIG"] = str(_apt_settings())
    if with_certificates and Path(CERTIFICATES).exists():
        found["SSL_CERT_FILE"] = os.environ.get("SSL_CERT_FILE", CERTIFICATES)
    return found
