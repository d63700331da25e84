"""A WSGI app that does what every Python program may do in a process of its own."""

import json
import logging
import os
import signal
import subprocess
import threading
import time
import warnings

from board import Board
from cases import Cases

case = Cases()

at_import = {
    "thread": threading.current_thread() is threading.main_thread(),
    "signal": signal.signal(signal.SIGUSR1, lambda number, frame: received.append(number))
    is not None,
    "directory": os.getcwd(),
}
received = []


def app(environ, start_response):
    if "HTTP_X_BOARD" in environ:
        Board.of(environ).note("begun", os.getpid())
    answer = case[environ["PATH_INFO"]](environ)
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [str(answer).encode()]


@case
def pid(environ):
    return os.getpid()


@case
def waits(environ):
    Board.of(environ).wait("go")
    return os.getpid()


@case
def is_multiprocess(environ):
    return environ["wsgi.multiprocess"]


@case
def start(environ):
    return json.dumps(at_import)


@case
def takes_a_signal(environ):
    os.kill(os.getpid(), signal.SIGUSR1)
    end = time.monotonic() + 5
    while not received and time.monotonic() < end:
        time.sleep(0.005)
    return received


@case
def environment(environ):
    os.environ["SET_LATER"] = "seen"
    return subprocess.run(
        ["printenv", "PLANTED", "SET_LATER"], capture_output=True, text=True
    ).stdout


@case
def epoch(environ):
    return time.strftime("%H:%M", time.localtime(0))


@case
def tokyo(environ):
    before = os.environ.get("TZ")
    os.environ["TZ"] = "Asia/Tokyo"
    time.tzset()
    try:
        return epoch(environ)
    finally:
        os.environ["TZ"] = before
        time.tzset()


@case
def talks(environ):
    print("planted: printed")
    logging.getLogger("planted").warning("planted: logged")
    warnings.warn("planted: warned", stacklevel=1)
    os.write(2, b"planted: by descriptor\n")
    return "said"


@case
def length(environ):
    read = 0
    while piece := environ["wsgi.input"].read(65536):
        read += len(piece)
    return read
