"""A Debian root whose first process is systemd: a machine of its own, as in a container."""

from __future__ import annotations

import os
import signal
import subprocess
from contextlib import suppress
from pathlib import Path

from harness import proc
from harness.roots import PATH, Root
from harness.waiting import wait_for

PACKAGES = ("systemd", "systemd-sysv", "dbus")
# Not `chroot` alone, under which the kernel refuses namespaces of users.
BOOT = """
mount --make-rprivate /
mount --bind "$1" "$1"
cd "$1"
mount -t proc proc proc
mount -t sysfs -o ro sysfs sys
mount -t cgroup2 cgroup2 sys/fs/cgroup
mount -t tmpfs -o mode=755 tmpfs dev
mkdir dev/pts dev/shm
mount -t devpts -o newinstance,ptmxmode=0666,mode=620 devpts dev/pts
mount -t tmpfs tmpfs dev/shm
for name in null zero full random urandom tty; do
    touch dev/$name
    mount --bind /dev/$name dev/$name
done
ln -s pts/ptmx dev/ptmx
ln -s /proc/self/fd dev/fd
mount -t tmpfs -o mode=755 tmpfs run
ip link set lo up
mkdir -p mnt/old
pivot_root . mnt/old
umount -l mnt/old
exec env -i container=other PATH="$PATH" /lib/systemd/systemd --show-status=false
"""


def _control_groups() -> Path:
    """Where control groups of version 2 are."""
    for line in Path("/proc/mounts").read_text().splitlines():
        _, place, kind, *_ = line.split()
        if kind == "cgroup2":
            return Path(place)
    raise LookupError("no control groups of version 2 are mounted")


class Machine:
    """Runs while the block does. Its network leads nowhere."""

    def __init__(self, root: Root, directory: Path) -> None:
        self._root = root
        self._output = directory / "systemd.log"
        self._group = _control_groups() / f"machine-{os.getpid()}"
        self._process: subprocess.Popen[bytes] | None = None
        self._first = 0

    def __enter__(self) -> Machine:
        self._group.mkdir()
        # The group must be its own before it has a namespace of groups.
        enter = f'echo $$ >{self._group}/cgroup.procs; exec "$@"'
        spaces = ["--mount", "--pid", "--fork", "--kill-child", "--uts", "--ipc", "--net"]
        boot = ["unshare", *spaces, "--cgroup", "sh", "-ec", BOOT, "sh", str(self._root.path)]
        with self._output.open("wb") as output:
            self._process = subprocess.Popen(
                ["sh", "-ec", enter, "sh", *boot],
                env={"PATH": PATH},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
            )
        process = self._process
        try:
            (self._first,) = wait_for(lambda: proc.children(process.pid), "the first process")
            wait_for(self._has_booted, lambda: self._output.read_text(), 60)
        except BaseException:
            self.__exit__()
            raise
        return self

    def _has_booted(self) -> bool:
        # Some units fail without a kernel of the machine's own.
        return self.attempt("systemctl", "is-system-running").stdout in ("running\n", "degraded\n")

    def __exit__(self, *_: object) -> None:
        assert self._process is not None
        with suppress(ProcessLookupError):
            os.kill(self._first or self._process.pid, signal.SIGKILL)  # the rest goes with it
        self._process.wait()
        for folder, _, _ in os.walk(self._group, topdown=False):
            wait_for(lambda folder=folder: _remove(Path(folder)), f"the end of {folder}")

    def command(self, *arguments: str) -> list[str]:
        """The command for us to execute, so that `arguments` are executed in it."""
        spaces = ["--mount", "--pid", "--uts", "--ipc", "--net", "--cgroup", "--root", "--wd"]
        return ["nsenter", "--target", str(self._first), *spaces, *arguments]

    def attempt(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Runs a command in it to its end, which may be a bad one."""
        return subprocess.run(
            self.command(*arguments),
            env={"PATH": PATH},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=120,
        )

    def run(self, *arguments: str) -> str:
        """The output of a command that must succeed."""
        done = self.attempt(*arguments)
        assert done.returncode == 0, f"{arguments}\n{done.stdout}{done.stderr}"
        return done.stdout


def _remove(folder: Path) -> bool:
    """Whether a control group could be removed: it has no process any more."""
    try:
        folder.rmdir()
    except OSError:
        return False
    return True
