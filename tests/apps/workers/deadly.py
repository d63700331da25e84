"""A WSGI app whose requests end its process, or write what they like into Caddy's memory."""

import ctypes
import mmap
import os
import random
import signal
import time

from board import Board
from cases import Cases

case = Cases()
SEGMENT = "memfd:caddysnake"
SHARED_BYTES = 1 << 20  # from the start: the first slots, and what wakes each side


def app(environ, start_response):
    if "HTTP_X_BOARD" in environ:
        Board.of(environ).note("begun", os.getpid())
    case[environ["PATH_INFO"]](environ)
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"%d" % os.getpid()]


@case
def pid(environ):
    pass


@case
def waits(environ):
    Board.of(environ).wait("go")


@case
def exits(environ):
    os._exit(3)


@case
def segfaults(environ):
    ctypes.string_at(0)


@case
def is_killed(environ):
    os.kill(os.getpid(), signal.SIGKILL)
    time.sleep(60)


@case
def scribbles(environ):
    """Random words at random places, with what Caddy reads first among them."""
    begin, end = segment()
    words = (end - begin) // 4
    shared = (ctypes.c_uint32 * words).from_address(begin)
    chance = random.Random(environ["QUERY_STRING"])
    reach = min(words, SHARED_BYTES // 4)
    for _ in range(20000):
        shared[chance.randrange(reach)] = chance.choice(
            (0, 1, 2, 7, 1 << 31, chance.getrandbits(32))
        )
    Board.of(environ).note("scribbled")


def segment():
    """Where the memory begins and ends that this process shares with Caddy."""
    with open("/proc/self/maps") as maps:
        for line in maps:
            if SEGMENT in line and "rw-s" in line:
                begin, end = (int(part, 16) for part in line.split()[0].split("-"))
                assert begin % mmap.PAGESIZE == 0
                return begin, end
    raise LookupError(SEGMENT)
