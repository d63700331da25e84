"""Serves WSGI apps (PEP 3333): the environ template and the threads of the pool."""

from __future__ import annotations

import io
import itertools
import logging
import sys
from collections.abc import Callable
from time import monotonic, sleep
from typing import Any

import _caddysnake

from caddysnake_py import logs, request_ids, threads, watchdog
from caddysnake_py.files import FileWrapper

_numbers = itertools.count(1)

# A request in Python code receives the exception at once; a request blocked in C code only when the
# call returns.
_END_SECONDS = 1.0
_ROUND_SECONDS = 0.1

_RETRY_SECONDS = 1.0


def _start_workers() -> None:
    """Starts a thread of the shared WSGI pool whenever the core requests one."""
    while True:
        _caddysnake.wsgi_next_thread()
        try:
            threads.start_outside(_caddysnake.wsgi_serve, f"wsgi-{next(_numbers)}")
        except (RuntimeError, MemoryError) as error:
            logs.emit(logging.ERROR, "caddysnake", f"no thread for WSGI requests: {error}")
            sleep(_RETRY_SECONDS)
            _caddysnake.wsgi_thread_failed()


def _start_pool() -> None:
    threads.start_outside(_start_workers, "wsgi-starter")


def environ_template(limit: int, multiprocess: bool) -> dict[str, Any]:
    """Returns the part of the environ that is the same for every request of an app (PEP 3333,
    "environ Variables").

    The core adds the rest. A key that is missing here is set only if the request has a value for
    it.

    Args:
        limit: the largest number of threads that call the app at the same time.
        multiprocess: other processes may call the app at the same time.
    """
    return {
        "SCRIPT_NAME": "",
        "QUERY_STRING": "",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": "http",
        "wsgi.errors": sys.stderr,
        "wsgi.multithread": limit > 1,
        "wsgi.multiprocess": multiprocess,
        "wsgi.run_once": False,
        "wsgi.input": io.BytesIO(),
        "wsgi.file_wrapper": FileWrapper,
    }


class WSGIServer:
    """A WSGI app that the shared thread pool serves."""

    _pool_started = False

    def __init__(
        self,
        app_id: int,
        core: _caddysnake.Generation,
        app: Callable[..., Any],
        threads: int,
        *,
        multiprocess: bool = False,
        request_id: bool = False,
    ) -> None:
        self._core = core
        self._app_id = app_id
        if request_id:
            request_ids.apps.add(app_id)
            app = request_ids.wsgi(app)
        core.serve_wsgi(app, environ_template(threads, multiprocess), threads)
        if not WSGIServer._pool_started:
            WSGIServer._pool_started = True
            _start_pool()

    def stop(self, drain: float, _tasks: float) -> bool:
        """Waits up to ``drain`` seconds for running requests, then raises `RequestTimeout` in the
        rest. Returns False if requests still run: they are blocked in C code, or caught the
        exception."""
        idle = self._core.wait_idle(drain + watchdog.DISCONNECT_SECONDS)
        deadline = monotonic() + _END_SECONDS
        while not idle and monotonic() < deadline:
            watchdog.end_requests(self._app_id)
            idle = self._core.wait_idle(_ROUND_SECONDS)  # queued requests may have started since
        if idle:
            self._core.stop()
            request_ids.apps.discard(self._app_id)
        return idle
