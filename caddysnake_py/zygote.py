"""A zygote: a process with the packages of an environment, which forks workers.

It has one thread, so a fork finds every lock free. It learns of a worker's end from the worker's
pidfd, which it opens while the worker is still its child; Caddy gets a copy.
"""

from __future__ import annotations

import contextlib
import dataclasses
import gc
import os
import select
import sys

from caddysnake_py import preload, venvs
from caddysnake_py.control import Control, Message
from caddysnake_py.loader import LoadError
from caddysnake_py.preload import Preloaded


class _Zygote:
    def __init__(self, control: Control) -> None:
        self._control = control
        self._poll = select.poll()
        self._poll.register(control.fileno(), select.POLLIN)
        self._children: dict[int, int] = {}  # pidfd -> pid

    def run(self) -> Control | None:
        """Returns the control socket of a worker in the forked child; None once Caddy is gone."""
        while True:
            for fd, _ in self._poll.poll():
                if fd in self._children:
                    self._reap(fd)
                    continue
                message = self._control.receive()
                if message is None:
                    return None
                if message.op == "fork" and (forked := self._fork(message)) is not None:
                    return forked

    def _reap(self, pidfd: int) -> None:
        pid = self._children.pop(pidfd)
        self._poll.unregister(pidfd)
        os.close(pidfd)
        _, status = os.waitpid(pid, 0)
        self._control.send("died", pid=pid, status=status)

    def _fork(self, message: Message) -> Control | None:
        """Forks a worker. Returns its control socket in the child, None in the zygote."""
        control, out, err = message.files
        try:
            pid = os.fork()
        except OSError as error:
            self._control.send("unforked", error=str(error))
            pid = -1
        if pid == 0:
            return self._become_worker(control, out, err)
        for fd in message.files:
            os.close(fd)
        if pid > 0:
            pidfd = os.pidfd_open(pid)
            self._children[pidfd] = pid
            self._poll.register(pidfd, select.POLLIN)
            self._control.send("forked", files=[pidfd], pid=pid)
        return None

    def _become_worker(self, control: int, out: int, err: int) -> Control:
        self._control.close()
        for pidfd in self._children:
            os.close(pidfd)
        os.dup2(out, 1)
        os.dup2(err, 2)
        os.close(out)
        os.close(err)
        os.setpgid(0, 0)
        _name_process("python-worker")
        return Control(control)


def _name_process(name: str) -> None:
    with open("/proc/self/comm", "w") as file:
        file.write(name)


@dataclasses.dataclass(slots=True, frozen=True)
class Order:
    """What the zygote is to be.

    Attributes:
        venv: the virtual environment, in which Python has started.
        env: variables of the applications, which packages may read when they are imported.
        env_files: files with more of them. Workers say what is wrong with a file.
        preload: the names of modules.
    """

    venv: str
    env: dict[str, str]
    env_files: list[str]
    preload: list[str]


def _prepare(control: Control, order: Order) -> Preloaded | None:
    """Sets variables and imports modules, and says so. Returns None if the zygote must end.

    What this function needs ends with it: a worker that frees the names of modules would copy the
    pages of all of them.
    """
    with contextlib.suppress(LoadError, ValueError):
        os.environ.update(venvs.variables(order.env_files, order.env))
    before = set(sys.modules)
    times = preload.FolderTimes()
    loaded = preload.load(order.preload)
    if loaded.culprit is not None:
        control.send("threads", module=loaded.culprit)
        return None
    packages = {name.partition(".")[0] for name in set(sys.modules) - before}
    control.send("preloaded", folders=times.now(), missing=loaded.missing)
    return Preloaded(frozenset(packages), next(reversed(sys.modules)))


def run(control: Control, order: Order) -> tuple[Control, Preloaded] | None:
    """Preloads modules and forks workers until Caddy is gone.

    Returns:
        In a forked worker, its control socket and what is preloaded. None in the zygote.
    """
    _name_process("python-zygote")
    preloaded = _prepare(control, order)
    order.preload.clear()
    if preloaded is None:
        return None
    gc.collect()
    gc.freeze()  # a collection in a worker would touch, hence copy, the pages of all these objects
    forked = _Zygote(control).run()
    return None if forked is None else (forked, preloaded)
