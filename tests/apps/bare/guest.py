"""A WSGI app that reaches for what belongs to the whole process."""

import atexit
import ctypes
import os
import signal
import socket
import threading
import time

from board import Board
from cases import Cases

case = Cases()


def app(environ, start_response):
    text = case[environ["PATH_INFO"]](environ)
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [str(text).encode()]


@case
def hello(environ):
    return "hello"


@case
def takes_sigterm(environ):
    """Would keep the process alive, as some frameworks do without meaning to."""
    try:
        signal.signal(signal.SIGTERM, lambda *_: None)
    except ValueError as error:
        return type(error).__name__
    return "no error"


@case
def writes_to_a_closed_pipe(environ):
    """SIGPIPE must not end the process."""
    reading, writing = os.pipe()
    os.close(reading)
    try:
        os.write(writing, b"x")
    except BrokenPipeError:
        return "BrokenPipeError"
    finally:
        os.close(writing)


@case
def writes_to_a_closed_socket(environ):
    mine, theirs = socket.socketpair()
    theirs.close()
    try:
        mine.send(b"x")
    except BrokenPipeError:
        return "BrokenPipeError"
    finally:
        mine.close()


@case
def is_on_the_main_thread(environ):
    return threading.current_thread() is threading.main_thread()


@case
def registers_atexit(environ):
    atexit.register(Board.of(environ).note, "atexit")
    return "registered"


@case
def leaves_a_daemon_thread(environ):
    threading.Thread(target=time.sleep, args=(3600,), daemon=True).start()
    return "left"


@case
def leaves_a_thread(environ):
    threading.Thread(target=time.sleep, args=(3600,)).start()
    return "left"


@case
def waits(environ):
    board = Board.of(environ)
    board.note("running")
    board.wait("go")
    return "done"


@case
def sleeps_for_an_hour(environ):
    Board.of(environ).note("running")
    time.sleep(3600)


@case
def leaves_descriptors(environ):
    left.extend(os.pipe() for _ in range(10))
    return "left"


@case
def aborts(environ):
    os.abort()


@case
def segfaults(environ):
    os.kill(os.getpid(), signal.SIGSEGV)
    time.sleep(3600)


left = []


@case
def reads_beyond_a_buffer(environ):
    """What only a sanitizer sees."""
    libc = ctypes.CDLL(None)
    libc.malloc.restype = ctypes.c_void_p
    return len(ctypes.string_at(libc.malloc(16), 17))
