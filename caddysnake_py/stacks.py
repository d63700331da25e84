"""Python stacks of threads, and of all that runs for requests."""

from __future__ import annotations

import sys
import threading
import traceback
from collections.abc import Mapping
from types import AsyncGeneratorType, CoroutineType, FrameType, GeneratorType
from typing import TypedDict

import _caddysnake

from caddysnake_py import logs

_MAX_FRAMES = 200
_MAX_FITTING = 40 << 10  # bytes; see control.py
_OVERHEAD = 500  # bytes of a stack's other fields, at most


class Stack(TypedDict):
    """What one request does; stackReport in Go.

    Attributes:
        app: the app's id.
        slot: the request's slot in the core; -1 if its response is complete and the app runs on.
        serial: of the slot's request.
        thread: the thread's name; empty for a coroutine that waits.
        stack: the formatted stack.
    """

    app: int
    slot: int
    serial: int
    thread: str
    stack: str


def of_thread(thread: int) -> str:
    """Returns the stack of a thread, without the server's frames at its beginning."""
    frames = traceback.extract_stack(sys._current_frames().get(thread))
    while frames and (logs.is_own(frames[0].filename) or frames[0].filename == threading.__file__):
        del frames[0]
    return "".join(frames.format()).rstrip("\n")


def _frame_and_rest(awaited: object) -> tuple[FrameType | None, object]:
    """Returns the frame of a coroutine, and what it awaits. Looks only at Python's own types: an
    attribute of another could run the app's code."""
    kind = type(awaited)
    if kind is CoroutineType:
        assert isinstance(awaited, CoroutineType)
        return awaited.cr_frame, awaited.cr_await
    if kind is GeneratorType:
        assert isinstance(awaited, GeneratorType)
        return awaited.gi_frame, awaited.gi_yieldfrom
    if kind is AsyncGeneratorType:
        assert isinstance(awaited, AsyncGeneratorType)
        return awaited.ag_frame, awaited.ag_await
    return None, None


def of_coroutine(coroutine: object) -> str:
    """Returns where a coroutine waits: its stack, and that of what it awaits."""
    frames: list[tuple[FrameType, int]] = []
    awaited = coroutine
    while awaited is not None and len(frames) < _MAX_FRAMES:
        frame, awaited = _frame_and_rest(awaited)
        if frame is not None:
            frames.append((frame, frame.f_lineno))
    return "".join(traceback.StackSummary.extract(iter(frames)).format()).rstrip("\n")


def _is_running(coroutine: object) -> bool:
    return isinstance(coroutine, CoroutineType) and coroutine.cr_running


def of_requests(cores: Mapping[int, _caddysnake.Generation]) -> list[Stack]:
    """Returns the stacks of all requests that run.

    Args:
        cores: the apps' generations in the core, by the apps' ids.
    """
    names = {thread.ident: thread.name for thread in threading.enumerate()}
    found = [
        Stack(
            app=app,
            slot=slot,
            serial=serial,
            thread=names.get(thread, ""),
            stack=of_thread(thread),
        )
        for app, slot, serial, thread in _caddysnake.wsgi_requests()
        if app in cores
    ]
    for app, core in cores.items():
        for slot, serial, coroutine, thread in core.coroutines():
            runs = _is_running(coroutine)
            found.append(
                Stack(
                    app=app,
                    slot=slot,
                    serial=serial,
                    thread=names.get(thread, "") if runs else "",
                    stack=of_thread(thread) if runs else of_coroutine(coroutine),
                )
            )
    return found


def fitting(stacks: list[Stack]) -> list[dict[str, object]]:
    """Returns as many of the stacks as one message of the control socket has room for."""
    room = _MAX_FITTING
    kept = []
    for stack in stacks:
        text = logs.printable(stack["stack"]).encode("utf-8", "backslashreplace")
        room -= len(text) + _OVERHEAD
        if room < 0:
            break
        kept.append(
            {**stack, "thread": logs.one_line(stack["thread"])[:80], "stack": text.decode()}
        )
    return kept
