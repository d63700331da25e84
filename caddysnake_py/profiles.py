"""Samples the stacks of threads, for a profile.

A thread counts while it has work: a request, a job of an executor, a round of its event loop. It
then counts also when it waits, for a database or a lock, since that is where the time of requests
goes. Threads that wait for work are left out.
"""

from __future__ import annotations

import asyncio.base_events
import concurrent.futures.thread
import dataclasses
import selectors
import sys
import threading
import time
from collections.abc import Callable, Mapping, Set
from types import CodeType
from typing import Any

import _caddysnake

from caddysnake_py import logs, threads

# A profile that reaches a limit ends there. profile_report.go leaves room for a last sample.
_MAX_DEPTH = 200
_MAX_STACKS = 5_000
_MAX_FRAMES = 5_000
_MAX_NODES = 20_000
_MAX_RUNS = 50_000
_MAX_THREADS = 1_000
_MAX_NAME, _MAX_FILE, _MAX_THREAD = 200, 400, 80  # characters

_MAX_SHARE = 0.1  # of a core, for taking samples

# Functions of the standard library in which a thread waits for work, and an event loop does.
_SELECT = (selectors.__file__, "select")
_WAITING = {
    _SELECT,
    (threading.__file__, "wait"),
    (threading.__file__, "join"),
    (threading.__file__, "_wait_for_tstate_lock"),
    (concurrent.futures.thread.__file__, "_worker"),
}
_SLEEPING = {_SELECT, (asyncio.base_events.__file__, "_run_once")}

_current_frames = sys._current_frames


@dataclasses.dataclass(slots=True)
class Threads:
    """For which apps the threads of this process work, by identity.

    Attributes:
        apps: those that are sampled; the others below have no part in it.
        serving: threads that run WSGI requests.
        loops: threads with the event loop of an app.
        own: other threads that apps have started.
        rest: the app of all other threads; 0: they work for none.
    """

    apps: Set[int]
    serving: Mapping[int, int]
    loops: Mapping[int, int]
    own: Mapping[int, int]
    rest: int


@dataclasses.dataclass(slots=True)
class _Stack:
    """What a stack says about its thread.

    Attributes:
        codes: ids of the code objects of the app's frames, the innermost first.
        node: the innermost of them in the tree of calls; -1: it was not needed so far.
        is_job: the thread works for another app than usual, or for an executor.
        is_servers: the thread is one of the server's own.
        waits: it waits for work, if it is a thread of the app.
        sleeps: it waits for work, if it runs an event loop.
    """

    codes: tuple[int, ...]
    is_job: bool
    is_servers: bool
    waits: bool
    sleeps: bool
    node: int = -1


@dataclasses.dataclass(slots=True)
class _Track:
    """What a thread did for an app: nodes of the tree, each with microseconds."""

    name: str
    runs: list[int] = dataclasses.field(default_factory=list)

    def add(self, node: int, microseconds: int) -> int:
        """Returns by how many runs the track has grown."""
        if self.runs and self.runs[-2] == node:
            self.runs[-1] += microseconds
            return 0
        self.runs += node, microseconds
        return 1


class _Full(Exception):
    """A limit is reached."""


class _Profile:
    """The samples that were taken so far.

    Stacks are the nodes of a tree of calls, so those that begin in the same way share memory. No
    frame is kept, only code objects, which refer to nothing of an app.
    """

    def __init__(self) -> None:
        self._codes: dict[int, CodeType] = {}
        self._stacks: dict[tuple[int, ...], _Stack] = {}
        self._frames: dict[int, int] = {}  # id of a code object -> number of its frame
        self._nodes: dict[tuple[int, int], int] = {}  # (node of the caller, frame) -> node
        self._tracks: dict[tuple[int, int], _Track] = {}  # by app and thread
        self._runs = 0
        self._job = id(threads.JOB)

    def sample(self, now: Threads, microseconds: int) -> None:
        """Adds what the threads do now.

        Raises:
            _Full: a limit is reached; this sample is incomplete.
        """
        own = threading.get_ident()
        for ident, codes in _caddysnake.stacks(_current_frames, self._codes, _MAX_DEPTH).items():
            stack = self._stacks.get(codes)
            if stack is None:
                if len(self._stacks) >= _MAX_STACKS:
                    raise _Full
                stack = self._stacks[codes] = self._read(codes)
            app = 0 if ident == own else _app_of(ident, stack, now)
            if app not in now.apps or not stack.codes:
                continue
            if stack.node < 0:
                stack.node = self._node(stack.codes)
            self._runs += self._track(app, ident).add(stack.node, microseconds)
        if self._runs >= _MAX_RUNS:
            raise _Full

    def _track(self, app: int, ident: int) -> _Track:
        track = self._tracks.get((app, ident))
        if track is None:
            if len(self._tracks) >= _MAX_THREADS:
                raise _Full
            track = self._tracks[app, ident] = _Track(_name_of(ident))
        return track

    def _read(self, codes: tuple[int, ...]) -> _Stack:
        files = [self._codes[code].co_filename for code in codes]
        inner = len(codes)
        while inner and (logs.is_own(files[inner - 1]) or files[inner - 1] == threading.__file__):
            inner -= 1
        outermost = next((file for file in reversed(files) if file != threading.__file__), "")
        innermost = files[0], self._codes[codes[0]].co_name
        is_job = self._job in codes
        if is_job:
            inner = codes.index(self._job)
        return _Stack(
            codes=codes[:inner],
            is_job=is_job,
            is_servers=logs.is_own(outermost),
            waits=innermost in _WAITING,
            sleeps=innermost in _SLEEPING or logs.is_own(files[0]),
        )

    def _node(self, codes: tuple[int, ...]) -> int:
        node = -1
        for code in reversed(codes):
            frame = self._frames.setdefault(code, len(self._frames))
            node = self._nodes.setdefault((node, frame), len(self._nodes))
        if len(self._frames) > _MAX_FRAMES or len(self._nodes) > _MAX_NODES:
            raise _Full
        return node

    def report(self, seconds: float, is_full: bool) -> dict[str, Any]:
        """Returns a profileReport of Go."""
        frames = [_describe(self._codes[code]) for code in self._frames]
        nodes = [number for node in self._nodes for number in node]
        tracks = [
            {"app": app, "thread": track.name, "runs": track.runs}
            for (app, _), track in self._tracks.items()
        ]
        return {
            "seconds": seconds,
            "full": is_full,
            "frames": frames,
            "nodes": nodes,
            "threads": tracks,
        }


def _app_of(ident: int, stack: _Stack, now: Threads) -> int:
    """Returns for which app a thread works; 0: for none, or it waits for work."""
    if stack.is_job and (app := threads.jobs.get(ident)):
        return app
    if app := now.serving.get(ident):
        return app
    if app := now.loops.get(ident):
        return 0 if stack.sleeps else app
    app = now.own.get(ident, 0)
    if not app and not stack.is_servers:
        app = now.rest
    return 0 if stack.waits else app


def _name_of(ident: int) -> str:
    """Returns the name of a thread. Not by its property, which an app's class may override."""
    thread = threading._active.get(ident)  # type: ignore[attr-defined]
    name = None if thread is None else object.__getattribute__(thread, "__dict__").get("_name")
    return logs.one_line(name)[:_MAX_THREAD] if type(name) is str else f"thread {ident:x}"


def _describe(code: CodeType) -> dict[str, Any]:
    name = getattr(code, "co_qualname", code.co_name)  # since Python 3.11
    return {
        "name": logs.one_line(name)[:_MAX_NAME],
        "file": logs.one_line(code.co_filename)[-_MAX_FILE:],
        "line": max(0, code.co_firstlineno),
    }


def take(
    seconds: float, rate: float, find: Callable[[], Threads], is_over: Callable[[], bool]
) -> dict[str, Any]:
    """Takes samples on this thread, and returns a profileReport of Go.

    Args:
        seconds: how long.
        rate: samples per second; there are fewer if they would take too much of a core.
        find: called for each sample.
        is_over: whether nobody waits for the profile any more, or the process ends.
    """
    profile = _Profile()
    begin = last = due = time.perf_counter()
    is_full = False
    while True:  # one sample at least
        used = time.thread_time()
        due = max(due + 1 / rate, last)
        time.sleep(max(0.0, due - time.perf_counter()))
        now = time.perf_counter()
        try:
            profile.sample(find(), round((now - last) * 1e6))
        except _Full:
            is_full = True
        last = now
        if is_full or last >= begin + seconds or is_over():
            return profile.report(last - begin, is_full)
        due = max(due, now + (time.thread_time() - used) / _MAX_SHARE - 1 / rate)
