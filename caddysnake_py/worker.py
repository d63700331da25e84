"""A worker process: a plain Python with one application, which it imports and serves on its main
thread.

Caddy starts it, tells it over the control socket what to load and when to stop, and logs what it
writes to its standard streams.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

import _caddysnake

from caddysnake_py import (
    background,
    interface,
    loader,
    logs,
    preload,
    process,
    profiles,
    stacks,
    worker_end,
    worker_environment,
    worker_metrics,
    worker_serving,
    worker_signals,
    worker_stacks,
    worker_streams,
    zygote,
)
from caddysnake_py.control import Control, Message
from caddysnake_py.limits import Limits
from caddysnake_py.load_request import LoadRequest
from caddysnake_py.preload import Preloaded
from caddysnake_py.worker_asgi import LoopRun

_ORPHAN_SECONDS = 5  # for the end of a worker whose Caddy is gone


class Worker:
    """The life of one application in this process."""

    def __init__(
        self, control: Control, request: LoadRequest, files: list[int], preloaded: Preloaded
    ) -> None:
        self._control = control
        self._preloaded = preloaded
        self._request = request
        self._core = worker_serving.new_core(request, control.fileno(), files)
        self._app: Callable[..., Any] | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._is_ready = False
        self._stopping: Future[Limits] = Future()
        self._profiling: threading.Thread | None = None
        self._ended_profiles = 0  # the question of the newest one that nobody waits for

    def run(self) -> int:
        """Loads and serves the application until Caddy ends it. Returns the exit code."""
        threading.Thread(target=self._listen, name="caddy-control", daemon=True).start()
        try:
            worker_environment.set_up(self._request, self._preloaded.packages)
            idle = self._serve()
        except BaseException as error:
            text = loader.error_text(error)
            if not self._is_ready:
                self._control.send_text("failed", "error", text)
            elif isinstance(error, KeyboardInterrupt):
                return 128 + 2  # SIGINT, as shells say it
            else:
                logs.emit(logging.ERROR, "caddysnake", f"exception in the worker\n{text}")
            return os.EX_SOFTWARE
        if self._profiling is not None:  # it ends with its next sample
            self._profiling.join()
        self._control.send("stopped", idle=idle)
        return os.EX_OK

    def _listen(self) -> None:
        """Waits on a thread of its own for Caddy's request to stop, or for Caddy's end."""
        while (message := self._control.receive()) is not None:
            if message.op == "stop":
                self._stop(Limits(message.fields["drain"], message.fields["tasks"]))
            elif message.op == "ping":
                self._answer(message.fields["ping"])
            elif message.op == "stacks":
                self._show_stacks(message.fields["question"])
            elif message.op == "metrics":
                worker_metrics.answer(self._control, message.fields["question"])
            elif message.op == "profile":
                fields = message.fields
                self._begin_profile(fields["question"], fields["seconds"], fields["rate"])
            elif message.op == "end_profile":
                self._ended_profiles = message.fields["question"]
        self._stop(Limits(0, 0))

    def _answer(self, ping: int) -> None:
        """Shows that this thread runs, and then the event loop, if there is one."""
        self._control.send("alive", ping=ping, loop=self._loop is None)
        if self._loop is not None:
            with contextlib.suppress(RuntimeError):  # it is closed: the worker ends
                self._loop.call_soon_threadsafe(self._answer_on_loop, ping)

    def _show_stacks(self, question: int) -> None:
        found = stacks.fitting(stacks.of_requests({self._request.id: self._core}))
        self._control.send("stacks", question=question, stacks=found)

    def _begin_profile(self, question: int, seconds: float, rate: float) -> None:
        """Takes a profile on a thread of its own."""

        def is_over() -> bool:
            return question <= self._ended_profiles or self._stopping.done()

        def take() -> None:
            report = profiles.take(seconds, rate, self._threads, is_over)
            self._control.send_long("profile", json.dumps(report), question=question)

        self._profiling = threading.Thread(target=take, name="caddy-profile", daemon=True)
        self._profiling.start()

    def _threads(self) -> profiles.Threads:
        app = self._request.id
        serving = {thread: app for _, _, _, thread in _caddysnake.wsgi_requests()}
        loops = {} if self._loop is None else {threading.main_thread().ident or 0: app}
        return profiles.Threads({app}, serving, loops, own={}, rest=app)

    def _answer_on_loop(self, ping: int) -> None:
        self._control.send("alive", ping=ping, loop=True)

    def _stop(self, limits: Limits) -> None:
        if not self._stopping.done():
            self._stopping.set_result(limits)

    def _serve(self) -> bool:
        """Returns, after the stop, whether all requests have ended."""
        if self._request.interface == "wsgi":
            self._app = loader.load(self._request.app, self._request.directories)
        else:
            run = LoopRun(self._request.id, self._request.loop, self._load_on_loop)
            run.run(self._stopping)
            if self._app is None:
                return run.idle
        stop = worker_serving.serve_wsgi(self._core, self._app, self._request)
        self._ready("wsgi")
        limits = worker_signals.wait(self._stopping)
        return stop(limits.drain, limits.tasks)

    async def _load_on_loop(self) -> worker_serving.AsyncStop | None:
        """Loads an app that is ASGI, or whose interface is not known yet."""
        app = loader.load(self._request.app, self._request.directories)
        if self._request.interface != "asgi" and interface.detect(app) == "wsgi":
            self._app = app
            return None
        stop = await worker_serving.serve_asgi(self._core, app, self._request)
        self._loop = asyncio.get_running_loop()
        self._ready("asgi")
        return stop

    def _ready(self, found: interface.Interface) -> None:
        self._is_ready = True
        modules = preload.installed(self._preloaded)
        self._control.send("ready", interface=found, pid=os.getpid(), modules=modules)


def _work(control: Control, start: Message, preloaded: Preloaded) -> int:
    request = LoadRequest(**start.content())
    _caddysnake.watch_caddy(control.fileno(), _ORPHAN_SECONDS)
    worker_stacks.set_up()
    return Worker(control, request, start.files, preloaded).run()


def run(fd: int) -> int:
    """Runs this process as Caddy's first message says: as a worker, as a zygote that forks workers,
    or as a command in the background of an application. Returns the exit code.

    Args:
        fd: the control socket.
    """
    process.set_up()
    process.hide_server()
    control = Control(fd)
    logs.Sink.write = control.log
    worker_streams.set_up()
    message = control.receive()
    preloaded = Preloaded()
    if message is not None and message.op == "zygote":
        forked = zygote.run(control, zygote.Order(**message.content()))
        if forked is None:
            return os.EX_OK
        control, preloaded = forked
        logs.Sink.write = control.log
        message = control.receive()
    if message is None:
        return os.EX_OK
    if message.op == "background":
        return background.run(control, background.Order(**message.content()))
    code = os.EX_SOFTWARE
    try:
        code = _work(control, message, preloaded)
    finally:
        worker_end.end(code)
    return code
