"""A WSGI app that leaves things on its thread, and tells what it finds there."""

import asyncio
import ctypes
import gc
import json
import os
import signal
import sys
import threading

from board import Board
from cases import Cases

case = Cases()

# One object for all apps, as that of a package that they share.
if not hasattr(json, "shared_local"):
    json.shared_local = threading.local()


def app(environ, start_response):
    answer = case[environ["PATH_INFO"]](environ)
    start_response("200 OK", [("Content-Type", "application/json")])
    return [json.dumps(answer).encode()]


class Other(threading.Thread):
    pass


def leave_trace(kind):
    def tracer(frame, event, arg):
        seen.append(frame.f_code.co_name)
        return tracer

    kind(tracer)


seen = []
THINGS = {
    "nothing": lambda: None,
    "event loop": lambda: asyncio.set_event_loop(asyncio.new_event_loop()),
    "running loop": lambda: asyncio._set_running_loop(asyncio.new_event_loop()),
    "local": lambda: setattr(json.shared_local, "user", "alice"),
    "attribute": lambda: setattr(threading.current_thread(), "user", "alice"),
    "name": lambda: setattr(threading.current_thread(), "name", "renamed"),
    "fewer attributes": lambda: delattr(threading.current_thread(), "_kwargs"),
    "other attributes": lambda: setattr(
        threading.current_thread(), "__dict__", dict(vars(threading.current_thread()), user="alice")
    ),
    "class": lambda: setattr(threading.current_thread(), "__class__", Other),
    "trace": lambda: leave_trace(sys.settrace),
    "profile": lambda: leave_trace(sys.setprofile),
    "threading.settrace": lambda: leave_trace(threading.settrace),
    "threading.setprofile": lambda: leave_trace(threading.setprofile),
    "asyncgen hooks": lambda: sys.set_asyncgen_hooks(firstiter=print, finalizer=print),
    "origin depth": lambda: sys.set_coroutine_origin_tracking_depth(5),
    "signal mask": lambda: signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR1}),
    "affinity": lambda: os.sched_setaffinity(0, {min(os.sched_getaffinity(0))}),
    "scheduler": lambda: os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0)),
    "niceness": lambda: os.nice(3),
    "setpriority": lambda: os.setpriority(os.PRIO_PROCESS, 0, 4),
}


@case
def hello(environ):
    return "hello"


@case
def leaves(environ):
    THINGS[environ["QUERY_STRING"].replace("%20", " ")]()
    return threading.get_native_id()


@case
def leaves_an_exception(environ):
    """Sent to the thread when the request is over."""
    board = Board.of(environ)
    thread = ctypes.c_ulong(threading.get_ident())

    def send():
        board.wait("go")
        sent = ctypes.pythonapi.PyThreadState_SetAsyncExc(thread, ctypes.py_object(OSError))
        board.note("sent", sent)

    threading.Thread(target=send).start()
    return threading.get_native_id()


@case
def keeps(environ):
    """Notes when what it keeps in a local is freed."""
    board = Board.of(environ)

    class Kept:
        def __del__(self):
            board.note("freed")

    json.shared_local.kept = Kept()
    return "kept"


@case
def saw(environ):
    return seen


def current_loop():
    try:
        return str(asyncio.get_event_loop_policy().get_event_loop())
    except RuntimeError as error:
        return str(error).partition(" in ")[0]


def in_a_thread(function):
    found = []
    thread = threading.Thread(target=lambda: found.append(function()))
    thread.start()
    thread.join()
    return str(found)


@case
def finds(environ):
    gc.collect()  # event loops that nobody has any more are cycles
    thread = threading.current_thread()
    return threading.get_native_id(), {
        "event loop": current_loop(),
        "running loop": str(asyncio._get_running_loop()),
        "local": sorted(vars(json.shared_local)),
        "thread": [type(thread).__name__, sorted(vars(thread)), thread.name[:5]],
        "tracing": [str(sys.gettrace()), str(sys.getprofile())],
        "tracing of threads": [in_a_thread(sys.gettrace), in_a_thread(sys.getprofile)],
        "hooks": [str(sys.get_asyncgen_hooks()), sys.get_coroutine_origin_tracking_depth()],
        "signals": sorted(signal.pthread_sigmask(signal.SIG_BLOCK, ())),
        "processors": sorted(os.sched_getaffinity(0)),
        "scheduler": os.sched_getscheduler(0),
        "niceness": os.getpriority(os.PRIO_PROCESS, 0),
    }
