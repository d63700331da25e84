"""Executes Go's commands: load an app, unload it, leave.

Commands arrive as JSON through the core's command queue. Each command runs on its own thread, so a
slow import does not delay other commands.
"""

from __future__ import annotations

import asyncio
import dataclasses
import json
import logging
import threading
from collections.abc import Callable
from typing import Any

import _caddysnake

from caddysnake_py import (
    app_metrics,
    body,
    callbacks,
    copies,
    cpython,
    defaults,
    environ,
    exits,
    files,
    guards,
    hooks,
    imports,
    installations,
    interface,
    lazyimports,
    load_errors,
    loader,
    loggers,
    logs,
    loky_pools,
    loop_descriptors,
    patches,
    pools,
    process,
    profiles,
    release,
    stacks,
    streams,
    subprocesses,
    sysmodule,
    tempdirs,
    threads,
    threadstate,
    tracing,
    typehints,
    venvs,
    watchdog,
    wsgi,
    zones,
)
from caddysnake_py.app_thread import AppThread
from caddysnake_py.asgi import ASGIServer
from caddysnake_py.layers import AppView
from caddysnake_py.load_request import LoadRequest
from caddysnake_py.view import use


@dataclasses.dataclass(slots=True)
class LoadedApp:
    """An app that is ready for requests.

    Attributes:
        core: the app's generation in the core.
        interface: ``"wsgi"`` or ``"asgi"``.
        stop: called with the drain and task timeouts in seconds; stops the app and returns whether
            all of its requests have ended.
        view: the app's view.
        loop_thread: the identity of the thread with its event loop, if it is ASGI.
    """

    core: _caddysnake.Generation
    interface: interface.Interface
    stop: Callable[[float, float], bool]
    view: AppView
    loop_thread: int | None = None


_apps: dict[int, LoadedApp] = {}
_loaded_once: set[tuple[str, str]] = set()  # (app, working_dir)


def _load_wsgi(request: LoadRequest, own: AppView, app: Callable[..., Any]) -> LoadedApp:
    core = _caddysnake.Generation(own)
    watchdog.limits[request.id] = watchdog.Limits(request.slow_request, request.request_timeout)
    server = wsgi.WSGIServer(request.id, core, app, request.threads, request_id=request.request_id)
    return LoadedApp(core, "wsgi", server.stop, own)


def _load_on_loop(request: LoadRequest, own: AppView) -> LoadedApp:
    """Loads an app that is ASGI, or whose interface is not known yet, on a new event loop's
    thread."""
    core = _caddysnake.Generation(own)
    thread = AppThread(request.id, request.app, request.loop, core)
    loop = thread.start()
    own.loop = loop

    async def load() -> LoadedApp:
        app = loader.load(request.app, request.directories)
        own.application = app
        if request.interface != "asgi" and interface.detect(app) == "wsgi":
            return _load_wsgi(request, own, app)
        server = ASGIServer(core, interface.as_asgi3(app), request)
        await server.start()
        if request.blocked_loop:
            watchdog.watch_loop(core, request.id, threading.get_ident(), request.blocked_loop)

        def stop(drain: float, tasks: float) -> bool:
            try:
                idle = asyncio.run_coroutine_threadsafe(server.stop(drain, tasks), loop).result()
            finally:  # the app may have cancelled server.stop()
                thread.end()
            return thread.join() and idle

        return LoadedApp(core, "asgi", stop, own, threading.get_ident())

    # SystemExit in a task propagates out of run_forever(), so it is returned as a value.
    async def guarded() -> LoadedApp | BaseException:
        try:
            return await load()
        except BaseException as error:
            return error

    loaded = asyncio.run_coroutine_threadsafe(guarded(), loop).result()
    if isinstance(loaded, BaseException):
        thread.end()
        thread.join()
        raise loaded
    if loaded.interface == "wsgi":
        thread.end()
    return loaded


def _make_view(request: LoadRequest) -> AppView:
    venvs.check_directories(request.working_dir, request.python_path, request.id)
    values = venvs.variables(request.env_files, request.env)
    layer = installations.layer_for(request.venv or None)
    module = request.app.partition(":")[0]
    directories = [request.working_dir, *request.python_path]
    own = AppView(request.id, directories, layer, module, request.isolate)
    environ.set_variables(own, values)
    release.forget_files(own.directories)
    return own


def _load_into(request: LoadRequest, own: AppView) -> LoadedApp:
    if request.interface != "wsgi":
        return _load_on_loop(request, own)
    app = loader.load(request.app, request.directories)
    own.application = app
    return _load_wsgi(request, own, app)


def load(request: LoadRequest) -> dict[str, Any]:
    """Loads an app; returns the core's handle and the interface.

    Raises:
        LoadError: the configuration is wrong, or the app is not usable.
        Exception: any exception that the app's module raises while it is imported.
    """
    own = _make_view(request)
    _caddysnake.enter(own)
    try:
        zones.begin(own)
    except zones.ZoneError as error:
        raise loader.LoadError(str(error)) from None
    key = request.app, request.working_dir
    try:
        loaded = _load_into(request, own)
    except Exception as error:
        reason = load_errors.explain(error, own) if key in _loaded_once else None
        if reason is None:
            raise
        raise loader.LoadError(reason) from error
    _loaded_once.add(key)
    if "django.utils.functional" in own.modules:
        copies.share_lazy_methods(own.modules["django.utils.functional"])
    patches.check_now(own)
    _apps[request.id] = loaded
    return {"handle": loaded.core.handle, "interface": loaded.interface}


def unload(app_id: int, drain: float, tasks: float) -> dict[str, Any]:
    """Drains an app and shuts it down.

    Args:
        app_id: the id of the app.
        drain: seconds to wait for running requests.
        tasks: seconds to wait, after that, for ASGI calls that continue after their response.

    Returns:
        ``{"idle": bool}``: whether all requests have ended.
    """
    loaded = _apps[app_id]
    _caddysnake.enter(loaded.view)
    idle = loaded.stop(drain, tasks)
    exits.run(loaded.view)
    loggers.shut_down(loaded.view)
    streams.close_partial(app_id)
    if idle:
        watchdog.forget(app_id)
        del _apps[app_id]  # otherwise the core still refers to the app
    return {"idle": idle}


class _Profiled:
    """The threads of the apps of a profile. It refers to none of them: they may be unloaded."""

    def __init__(self, ids: list[int]) -> None:
        self._ids = frozenset(ids)

    def threads(self) -> profiles.Threads:
        serving = _caddysnake.wsgi_requests()
        loops: dict[int, int] = {}
        own: dict[int, int] = {}
        for app in self._ids:
            if (loaded := _apps.get(app)) is None:
                continue
            if loaded.loop_thread is not None:
                loops[loaded.loop_thread] = app
            own |= dict.fromkeys(list(loaded.view.threads), app)
        return profiles.Threads(
            apps=self._ids,
            serving={thread: app for app, _, _, thread in serving},
            loops=loops,
            own=own,
            rest=0,
        )


_ended_profiles = 0  # the number of the newest one that nobody waits for


def profile(number: int, apps: list[int], seconds: float, rate: float) -> dict[str, Any]:
    """Takes a profile of apps, by their ids, until `end_profile`."""
    return profiles.take(
        seconds,
        rate,
        _Profiled(apps).threads,
        lambda: number <= _ended_profiles,
    )


def end_profile(number: int) -> dict[str, Any]:
    """Ends a profile, and those before it."""
    global _ended_profiles
    _ended_profiles = max(_ended_profiles, number)
    return {}


def leave() -> dict[str, Any]:
    """Runs exit functions and ends process pools: the process exits without Py_Finalize()."""
    for loaded in list(_apps.values()):  # apps that did not become idle when they were unloaded
        with use(loaded.view):
            exits.run(loaded.view)
    pools.end_executors()
    if cpython.EXIT not in cpython.absent:
        cpython.run_exit_functions()
    pools.end_trackers()
    return {}


def _execute(question: dict[str, Any]) -> dict[str, Any]:
    match question["op"]:
        case "load":
            return load(LoadRequest(**question["load"]))
        case "unload":
            return unload(question["id"], question["drain"], question["tasks"])
        case "stacks":
            cores = {app: loaded.core for app, loaded in list(_apps.items())}
            return {"stacks": stacks.of_requests(cores)}
        case "metrics":
            with use(_apps[question["id"]].view):
                return {"metrics": app_metrics.collect()}
        case "profile":
            return {"profile": profile(question["id"], **question["profile"])}
        case "end_profile":
            return end_profile(question["id"])
        case "leave":
            return leave()
        case other:
            raise ValueError(f"unknown command {other!r}")


def _answer(command: _caddysnake.Command) -> None:
    try:
        answer = _execute(json.loads(command.payload))
    except BaseException as error:
        answer = {"error": loader.error_text(error)}
    # The exception of a failed load has been released here: its traceback would keep the app alive.
    own = _caddysnake.current_view()
    _caddysnake.enter(None)
    is_over = isinstance(own, AppView) and own.app not in _apps
    if isinstance(own, AppView) and is_over:
        patches.check_now(own)
        patches.forget(own)
        zones.forget(own)
        own.settings.clear()
        own.loggers.clear()
    command.reply(json.dumps(answer).encode())
    if isinstance(own, AppView) and is_over:
        release.free_later(own)


def _serve() -> None:
    while True:
        command = _caddysnake.next_command()
        try:
            threading.Thread(target=_answer, args=(command,), name="command", daemon=True).start()
        except RuntimeError as error:
            command.reply(json.dumps({"error": f"cannot start a thread: {error}"}).encode())


def _warn(problem: str | None) -> None:
    if problem is not None:
        logs.emit(logging.WARNING, "caddysnake", problem)


def start() -> None:
    """Sets up the interpreter and starts the command thread. Does not block.

    Raises:
        RuntimeError: this Python is free-threaded, or cannot keep applications apart.
    """
    process.set_up()
    _caddysnake.set_hooks(
        logs.app_exception,
        body.open_body,
        files.plain_file,
        threadstate.system,
        threadstate.restore,
        threadstate.settle,
        callbacks.find_owner,
    )
    streams.install()
    _warn(cpython.check())
    threads.install()
    threadstate.install()
    tracing.install()
    installations.set_up()
    environ.install()
    exits.install()
    typehints.install()
    sysmodule.install()
    hooks.install()
    loggers.install()
    imports.install()
    defaults.install()
    guards.install()
    loop_descriptors.install()
    zones.install()
    optional: dict[str, Callable[[], None]] = {
        cpython.PROGRAMS: subprocesses.install,
        cpython.LAZY: lazyimports.install,
        cpython.POOLS: pools.install,
    }
    for name, install in optional.items():
        if name not in cpython.absent:
            install()
    loky_pools.install()
    tempdirs.install()
    _caddysnake.adopt_modules()
    _warn(cpython.check(cpython.BEHAVIOUR))
    imports.watch_patches()
    sysmodule.watch()
    process.hide_server()
    release.start()
    watchdog.start()
    threading.Thread(target=_serve, name="bridge", daemon=True).start()
