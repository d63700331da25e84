"""A WSGI app that starts processes in all the ways that Python offers."""

import logging
import multiprocessing
import os
import selectors
import socket
import subprocess
import sys
import time

from cases import Cases

case = Cases()


def app(environ, start_response):
    text = case[environ["PATH_INFO"]]()
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [str(text).encode()]


def square(number):
    return number * number


@case
def hello():
    return "hello"


@case
def executable():
    code = "import sys; print(sys.version_info[:3])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=30)
    return done.stdout.strip() == str(tuple(sys.version_info[:3]))


@case
def shell():
    return subprocess.check_output(["sh", "-c", "echo from the shell"], text=True).strip()


@case
def terminate_subprocess():
    process = subprocess.Popen(["sleep", "3600"])
    process.terminate()
    return process.wait(30)


@case
def spawn_pool():
    with multiprocessing.get_context("spawn").Pool(2) as pool:
        return pool.map(square, range(5))


@case
def leaves_a_forked_process():
    process = multiprocessing.get_context("fork").Process(target=time.sleep, args=(3600,))
    process.daemon = True
    process.start()
    return process.pid


@case
def speaks_through_a_socket():
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    with ours, theirs, selectors.EpollSelector() as selector:
        selector.register(ours, selectors.EVENT_READ)
        child = os.fork()
        if child == 0:
            theirs.send(b"from the child")
            os._exit(0)
        selector.select(30)
        os.waitpid(child, 0)
        return ours.recv(100).decode()


def says_it():
    print("printed by a child")
    logging.getLogger("child").error("logged by a child")
    print("without an end", end="")
    raise LookupError("planted in a child")


@case
def child_that_speaks():
    print("begun by the parent ", end="")
    process = multiprocessing.get_context("fork").Process(target=says_it)
    process.start()
    process.join(30)
    print("and ended")
    return process.exitcode


@case
def fork_pool():
    # Leaving the block terminates the workers, which must not ignore SIGTERM.
    with multiprocessing.get_context("fork").Pool(4) as pool:
        return pool.map(square, range(5))


@case
def terminate_forked_process():
    process = multiprocessing.get_context("fork").Process(target=time.sleep, args=(3600,))
    process.start()
    process.terminate()
    process.join(10)
    code = process.exitcode
    process.kill()
    process.join()
    return code


@case
def plain_fork():
    child = os.fork()
    if child == 0:
        os._exit(7)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
