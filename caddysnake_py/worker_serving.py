"""What a worker serves its application with. Nothing else of the worker knows the core.

The descriptors that came with the start are for the core: the shared memory, and what wakes either
side.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Awaitable, Callable
from typing import Any

import _caddysnake

from caddysnake_py import body, interface, logs, threadstate, watchdog, wsgi
from caddysnake_py import files as files_of_wsgi
from caddysnake_py.asgi import ASGIServer
from caddysnake_py.load_request import LoadRequest

Stop = Callable[[float, float], bool]
"""Called with the drain and task timeouts in seconds; stops the app and returns whether all of its
requests have ended."""

AsyncStop = Callable[[float, float], Awaitable[bool]]
"""The same, to be awaited on the app's loop."""


class _NoView(_caddysnake.View):
    """Carries the app's id. No thread enters it: a worker has one app, and no views."""


def new_core(request: LoadRequest, control: int, files: list[int]) -> _caddysnake.Generation:
    """Returns the app's generation in the core.

    Args:
        control: the control socket, on which the core sends files.
        files: the segment and the two eventfds. They belong to the core from now on.
    """
    segment, down, up = files
    _caddysnake.attach(control, segment, down, up)
    os.close(segment)
    _caddysnake.set_hooks(
        logs.app_exception,
        body.open_body,
        files_of_wsgi.plain_file,
        threadstate.system,
        threadstate.restore,
        threadstate.settle,
        lambda: NotImplemented,  # every thread is the app's
    )
    watchdog.start()
    return _caddysnake.Generation(_NoView(request.id, None))


def serve_wsgi(core: _caddysnake.Generation, app: Callable[..., Any], request: LoadRequest) -> Stop:
    """Serves a WSGI app on threads of the core while the main thread waits."""
    watchdog.limits[request.id] = watchdog.Limits(request.slow_request, request.request_timeout)
    return wsgi.WSGIServer(
        request.id,
        core,
        app,
        request.threads,
        multiprocess=True,
        request_id=request.request_id,
    ).stop


async def serve_asgi(
    core: _caddysnake.Generation, app: Callable[..., Any], request: LoadRequest
) -> AsyncStop:
    """Serves an ASGI app on the running loop, after the app's lifespan startup.

    Raises:
        LoadError: the startup failed.
    """
    server = ASGIServer(core, interface.as_asgi3(app), request)
    await server.start()
    if request.blocked_loop:
        watchdog.watch_loop(core, request.id, threading.get_ident(), request.blocked_loop)
    return server.stop
