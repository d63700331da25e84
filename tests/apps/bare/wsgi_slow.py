"""WSGI apps that take long, in Python code and outside of it."""

import os
import time

from board import Board
from cases import Cases
from wsgi_closing import Closing

case = Cases()

PLAIN = [("Content-Type", "text/plain")]


def app(environ, start_response):
    return case[environ["PATH_INFO"]](environ, start_response)


@case
def hello(environ, start_response):
    start_response("200 OK", PLAIN)
    return [b"hello"]


def wait_in_python(board):
    board.note("running")
    board.wait("go")


@case
def waits(environ, start_response):
    """An ordinary app: it cleans up, and catches what it expects."""
    board = Board.of(environ)
    try:
        wait_in_python(board)
    except Exception:
        board.note("went on")
    finally:
        board.note("ended")
    start_response("200 OK", PLAIN)
    return [b"done"]


@case
def will_not_be_told(environ, start_response):
    """Catches even what ends it, and answers all the same."""
    board = Board.of(environ)
    try:
        wait_in_python(board)
    except BaseException as error:
        board.note("caught", type(error).__name__)
    start_response("200 OK", PLAIN)
    return [b"too late"]


@case
def blocks_outside_python(environ, start_response):
    """Waits in a system call for what the test writes into a pipe."""
    board = Board.of(environ)
    pipe = os.path.join(board.folder, "pipe")
    os.mkfifo(pipe)
    board.note("running")
    try:
        with open(pipe, "rb") as file:
            file.read()
    finally:
        board.note("ended")
    start_response("200 OK", PLAIN)
    return [b"done"]


@case
def streams_and_waits(environ, start_response):
    board = Board.of(environ)
    start_response("200 OK", PLAIN)
    return Closing(environ, b"begun", lambda: wait_in_python(board) or b"done")


@case
def starts_and_waits(environ, start_response):
    board = Board.of(environ)
    start_response("200 OK", PLAIN)
    wait_in_python(board)
    return [b"done"]


@case
def reads(environ, start_response):
    board = Board.of(environ)
    board.note("running")
    try:
        environ["wsgi.input"].read()
    except BaseException as error:
        board.note("ended", type(error).__name__)
        raise
    start_response("200 OK", PLAIN)
    return [b"done"]


@case
def naps(environ, start_response):
    time.sleep(float(environ["QUERY_STRING"]))
    start_response("200 OK", PLAIN)
    return [b"rested"]
