"""WSGI apps that send block by block, through the iterable and through write()."""

import threading

from board import Board
from cases import Cases

case = Cases()

PLAIN = [("Content-Type", "text/plain")]
MIB = 1 << 20


def app(environ, start_response):
    return case[environ["PATH_INFO"]](environ, start_response)


@case
def hello(environ, start_response):
    start_response("200 OK", PLAIN)
    return [b"hello"]


@case
def block_by_block(environ, start_response):
    """Each block waits for the test to have the one before; `asked` tells how far we are."""
    board = Board.of(environ)
    start_response("200 OK", PLAIN)
    for number in range(4):
        if number:
            board.wait(f"got {number - 1}")
        board.note("asked")
        yield b"block %d" % number


@case
def write_by_write(environ, start_response):
    board = Board.of(environ)
    write = start_response("200 OK", PLAIN)
    for number in range(3):
        if number:
            board.wait(f"got {number - 1}")
        board.note("asked")
        write(b"block %d" % number)
    board.wait("got 2")
    board.note("asked")
    return [b"block 3"]


# write()


@case
def written_first(environ, start_response):
    write = start_response("200 OK", PLAIN)
    write(b"one ")
    write(b"")
    write(b"two ")
    return [b"three ", b"four"]


@case
def written_only(environ, start_response):
    write = start_response("200 OK", PLAIN)
    write(b"all of it")
    return []


@case
def written_with_length(environ, start_response):
    write = start_response("200 OK", [*PLAIN, ("Content-Length", "9")])
    write(b"all ")
    write(b"of it")
    return []


@case
def written_with_length_and_more(environ, start_response):
    write = start_response("200 OK", [*PLAIN, ("Content-Length", "9")])
    write(b"all of it")
    return [b"", b""]


@case
def written_within_the_generator(environ, start_response):
    write = start_response("200 OK", PLAIN)
    yield b"one "
    write(b"two ")
    yield b"three"


@case
def written_large(environ, start_response):
    write = start_response("200 OK", PLAIN)
    for number in range(4):
        write(bytes([number]) * MIB)
    return [b"end"]


@case
def written_by_another_thread(environ, start_response):
    write = start_response("200 OK", PLAIN)
    thread = threading.Thread(target=lambda: [write(b"%d " % n) for n in range(100)])
    thread.start()
    thread.join()
    return [b"end"]


# Clients that leave


@case
def until_the_client_is_gone(environ, start_response):
    """One block; after the test has left, as many more as somebody takes."""
    board = Board.of(environ)
    start_response("200 OK", PLAIN)

    def blocks():
        try:
            yield b"first"
            board.wait("left")
            while True:
                board.note("sent")
                yield bytes(1000)
        finally:
            board.note("closed", threading.current_thread().name)

    return blocks()


@case
def writes_until_the_client_is_gone(environ, start_response):
    board = Board.of(environ)
    write = start_response("200 OK", PLAIN)
    try:
        write(b"first")
        board.wait("left")
        while True:
            board.note("sent")
            write(bytes(1000))
    except BrokenPipeError as error:
        board.note("closed", type(error).__name__)
    return []


# Sizes


@case
def sized(environ, start_response):
    """So many MiB in blocks of 1 MiB, each filled with its own number. Notes each block."""
    board = Board.of(environ)
    count = int(environ["QUERY_STRING"])
    start_response("200 OK", [*PLAIN, ("Content-Length", str(count * MIB))])
    for number in range(count):
        board.note("asked")
        yield bytes([number % 256]) * MIB


@case
def one_large_block(environ, start_response):
    size = int(environ["QUERY_STRING"])
    start_response("200 OK", PLAIN)
    return [bytes(range(256)) * (size // 256)]


@case
def a_list_of(environ, start_response):
    """So many blocks of one byte."""
    start_response("200 OK", PLAIN)
    return [b"%d" % (number % 10) for number in range(int(environ["QUERY_STRING"]))]


@case
def a_list_of_all_sizes(environ, start_response):
    start_response("200 OK", PLAIN)
    sizes = [0, 1, 1000, 0, 256 << 10, 1, (256 << 10) - 1, 1, 1, 1 << 20, 0, 0]
    return [bytes([number]) * size for number, size in enumerate(sizes)]


@case
def many_small_blocks(environ, start_response):
    start_response("200 OK", PLAIN)
    for number in range(5000):
        yield b"%d\n" % number
