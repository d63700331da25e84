"""WSGI apps that keep things on their thread, and start threads that outlive the request."""

import contextvars
import decimal
import json
import signal
import threading

from board import Board
from cases import Cases

case = Cases()

PLAIN = [("Content-Type", "text/plain")]

local = threading.local()
variable = contextvars.ContextVar("variable", default="unset")
order = []


def app(environ, start_response):
    return case[environ["PATH_INFO"]](environ, start_response)


def answer(start_response, value):
    start_response("200 OK", [("Content-Type", "application/json")])
    return [json.dumps(value).encode()]


@case
def hello(environ, start_response):
    return answer(start_response, "hello")


@case
def in_order(environ, start_response):
    """Notes which request it is; the first one waits."""
    board = Board.of(environ)
    order.append(environ["QUERY_STRING"])
    board.note("running")
    if environ["QUERY_STRING"] == "0":
        board.wait("go")
    return answer(start_response, order)


@case
def holds_up_new_threads(environ, start_response):
    """Those that are to start from here on do so when the test lets them."""
    board = Board.of(environ)
    held = threading.Event()

    def hold():
        # The kernel gives it the name of the thread that has started it.
        with open(f"/proc/self/task/{threading.get_native_id()}/comm", "w") as name:
            name.write("holds")
        with threading._active_limbo_lock:
            held.set()
            board.wait("begin")

    threading.Thread(target=hold).start()
    held.wait()
    return answer(start_response, "held up")


# What a thread keeps


@case
def per_thread(environ, start_response):
    """The thread's name, and the name that was kept on it; requests wait for one another."""
    name = threading.current_thread().name
    kept = getattr(local, "name", None)
    local.name = name
    board = Board.of(environ)
    board.note("running")
    board.wait("go")
    return answer(start_response, [name, kept])


@case
def in_context(environ, start_response):
    """What the request finds in context variables, before it sets them."""
    found = [variable.get(), decimal.getcontext().prec]
    variable.set("set by a request")
    decimal.getcontext().prec = 5
    return answer(start_response, found)


@case
def in_context_to_the_end(environ, start_response):
    """One context for the call, the blocks and close()."""
    variable.set("set by the call")
    board = Board.of(environ)

    class Blocks:
        def __iter__(self):
            yield f"{variable.get()}, ".encode()
            variable.set("set by a block")

        def close(self):
            board.note("closed", variable.get())

    start_response("200 OK", PLAIN)
    return Blocks()


# Threads that outlive the request


def later(board, act):
    """Runs on a thread of its own when the test says so, and notes what came of it."""

    def run():
        board.wait("go")
        try:
            board.note("done", act())
        except Exception as error:
            board.note("done", type(error).__name__)

    threading.Thread(target=run).start()


@case
def works_on(environ, start_response):
    def act():
        print("said by a thread that works on")
        return "worked"

    later(Board.of(environ), act)
    return answer(start_response, "started")


@case
def writes_late(environ, start_response):
    write = start_response("200 OK", PLAIN)
    later(Board.of(environ), lambda: write(b"HTTP/1.1 200 OK\r\n\r\n"))
    return [b"started"]


@case
def starts_late(environ, start_response):
    later(Board.of(environ), lambda: start_response("500 Late", PLAIN, None))
    return answer(start_response, "started")


@case
def reads_late(environ, start_response):
    later(Board.of(environ), lambda: len(environ["wsgi.input"].read()))
    return answer(start_response, "started")


@case
def complains_late(environ, start_response):
    later(Board.of(environ), lambda: environ["wsgi.errors"].write("complained late\n"))
    return answer(start_response, "started")


@case
def keeps_its_environ(environ, start_response):
    later(Board.of(environ), lambda: environ["REQUEST_URI"])
    return answer(start_response, "started")


# What belongs to the process


@case
def takes_signals(environ, start_response):
    before = signal.getsignal(signal.SIGTERM)
    signal.signal(signal.SIGTERM, lambda *_: None)
    return answer(start_response, signal.getsignal(signal.SIGTERM) is before)


@case
def sees_its_thread(environ, start_response):
    thread = threading.current_thread()
    is_listed = thread in threading.enumerate()
    return answer(start_response, [thread is threading.main_thread(), thread.daemon, is_listed])
