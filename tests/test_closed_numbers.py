"""The number of a descriptor that an application closes, but a socket or file object still has, is
not used again before that object closes it: it would close what others have opened since."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness import proc
from harness.acting import ask, site
from harness.health import Slack
from harness.plugin import Serve

pytestmark = pytest.mark.in_process("a worker has descriptors of its own")

# Objects with a descriptor.
OBJECTS = {
    "a socket": "socket.socketpair()[0]",
    "a raw file": "open(os.devnull, 'rb', buffering=0)",
    "a text file": "open(os.devnull)",
    "a temporary file": "tempfile.TemporaryFile()",
    "a file for a pipe": "os.fdopen(os.pipe()[0])",
}
KEEPS = """
import contextlib, errno, socket, tempfile
kept = []
def status():
    try:
        os.read(kept[0].fileno(), 1)
    except OSError as error:
        return errno.errorcode[error.errno]
    return "open"
def look(path):
    if path == "/make":
        kept.append(MAKE)
        return kept[0].fileno()
    if path == "/status":
        return status()
    with contextlib.suppress(OSError):  # what a buffer could not flush
        kept[0].close() if path == "/close" else kept.clear()
"""
# Another application.
CLOSES = """
import socket
def look(path):
    number = int(path[1:])
    try:
        WAY
    except OSError as error:
        return error
    return "closed"
"""
WAYS = {
    "os.close": "os.close(number)",
    "an object that means a number": "os.close(type('', (), {'__index__': lambda _: number})())",
    "socket.close": "socket.close(number)",
    "a socket object": "socket.socket(fileno=number).close()",
    "a socket object that is freed": "socket.socket(fileno=number)",
}


def _check(serve: Serve, folder: Path, make: str, way: str, end: str) -> None:
    sites = [
        site(folder, "keeps", KEEPS.replace("MAKE", make)),
        site(folder, "closes", CLOSES.replace("WAY", way)),
    ]
    server = serve(*sites, slack=Slack(descriptors=4))
    number = int(ask(server, 0, "/make"))
    assert ask(server, 1, f"/{number}") == "closed"
    assert ask(server, 0, "/status") == "EBADF"
    assert proc.descriptors(server.pid)[number] == "/"
    ask(server, 0, end)
    assert proc.descriptors(server.pid).get(number) != "/"


@pytest.mark.parametrize("end", ["/close", "/free"])
@pytest.mark.parametrize("make", OBJECTS.values(), ids=OBJECTS)
def test_a_number_stays_in_use_until_its_object_ends(
    serve: Serve, tmp_path: Path, make: str, end: str
) -> None:
    _check(serve, tmp_path, make, "os.close(number)", end)


@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
def test_a_number_stays_in_use_however_it_is_closed(serve: Serve, tmp_path: Path, way: str) -> None:
    _check(serve, tmp_path, OBJECTS["a socket"], way, "/free")


def test_a_file_object_for_the_number_of_another_object_closes_a_duplicate(
    serve: Serve, tmp_path: Path
) -> None:
    """Nothing tells when a file closes its descriptor, and so the file gets another."""
    code = """
    def look(path):
        with open(os.devnull, "rb") as kept:
            with open(kept.fileno(), "rb") as other:
                numbers = kept.fileno() == other.fileno()
            return numbers, other.closed, kept.read()
    """
    assert ask(serve(site(tmp_path, "opens", code)), 0) == str((False, True, b""))


def test_an_application_closes_the_numbers_that_it_has(serve: Serve, tmp_path: Path) -> None:
    """A number that no object has is free at once, and one that a socket has handed over, too."""
    code = """
    import socket
    def look(path):
        reader, writer = os.pipe()
        pair = socket.socketpair()
        second = socket.socket(fileno=pair[0].fileno())
        pair[0].detach()
        numbers = [reader, writer, pair[1].detach(), second.detach()]
        for number in numbers:
            os.close(number)
        again = []
        for number in numbers:
            try:
                os.fstat(number)
            except OSError:
                again.append(number)
        return again == numbers
    """
    assert ask(serve(site(tmp_path, "closes", code)), 0) == "True"


def test_a_duplicate_that_nothing_can_be_made_of_is_closed(serve: Serve, tmp_path: Path) -> None:
    """A pipe is no socket, and there is no file of an unknown mode."""
    code = """
    import asyncio, select, socket, uvloop
    loop, epoll = uvloop.new_event_loop(), select.epoll()
    def look(path):
        before = os.listdir("/proc/self/fd")
        pipes = [int(number) for number in before if is_pipe(number)]
        for number in [*pipes, epoll.fileno()]:
            for make in (lambda: socket.socket(fileno=number)), (lambda: open(number, "nonsense")):
                try:
                    make()
                except (OSError, ValueError):
                    pass
        return len(os.listdir("/proc/self/fd")) - len(before), bool(pipes)
    def is_pipe(number):
        try:
            return os.readlink(f"/proc/self/fd/{number}").startswith("pipe:")
        except OSError:
            return False
    """
    assert ask(serve(site(tmp_path, "opens", code)), 0) == str((0, True))
