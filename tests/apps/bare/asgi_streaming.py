"""ASGI apps that answer in pieces: what is sent when, and who waits for whom."""

import asyncio

from board import Board
from cases import Cases
from sending import answer, body, start

case = Cases()

PIECE = bytes(65536)


app = case.asgi


@case
async def hello(scope, receive, send):
    await answer(send, b"hello")


@case
async def piece_by_piece(scope, receive, send):
    """Four pieces, each after the one before has been seen by the client."""
    board = Board.of(scope)
    await start(send)
    for number in range(4):
        board.note("asked")
        await body(send, b"piece %d" % number, more=True)
        await board.until(f"got {number}")
    await body(send)


@case
async def head_first(scope, receive, send):
    """An empty piece sends the head, long before there is a body."""
    board = Board.of(scope)
    await start(send, headers=[(b"x-early", b"yes")])
    await body(send, more=True)
    await board.until("go")
    await body(send, b"late")


@case
async def two_halves(scope, receive, send):
    """50,000 bytes, and as many more after the note; nothing happens meanwhile."""
    board = Board.of(scope)
    await start(send)
    await body(send, b"1" * 50_000, more=True)
    while not board.has("go"):
        await asyncio.sleep(0.2)
    await body(send, b"2" * 50_000)


@case
async def events(scope, receive, send):
    """Server-sent events, each after the note of its number, until the client leaves."""
    board = Board.of(scope)
    headers = [(b"content-type", b"text/event-stream"), (b"cache-control", b"no-store")]
    await start(send, headers=headers)
    try:
        number = 0
        while True:
            await body(send, b"data: %d\n\n" % number, more=True)
            await board.until(f"got {number}")
            number += 1
    finally:
        board.note("closed")


@case
async def many_small_pieces(scope, receive, send):
    await start(send)
    for number in range(5000):
        await body(send, b"%d\n" % number, more=True)
    await body(send)


@case
async def sends_at_once(scope, receive, send):
    """Many sends that nobody awaits in turn."""
    await start(send)
    messages = [
        {"type": "http.response.body", "body": b"%d\n" % number, "more_body": True}
        for number in range(1000)
    ]
    await asyncio.gather(*(send(message) for message in messages))
    await body(send)


@case
async def several_tasks_send(scope, receive, send):
    """Each of eight tasks sends pieces that are far larger than what fits into a buffer."""

    async def sender(letter):
        for _ in range(8):
            await body(send, bytes([letter]) * 100_000, more=True)
            await asyncio.sleep(0)

    await start(send)
    await asyncio.gather(*(sender(letter) for letter in b"abcdefgh"))
    await body(send)


@case
async def sized(scope, receive, send):
    """So many MiB, each filled with its number."""
    board = Board.of(scope)
    count = int(scope["query_string"])
    await start(send, headers=[(b"content-length", b"%d" % (count << 20))])
    for number in range(count):
        await body(send, bytes([number % 256]) * (1 << 20), more=number < count - 1)
        board.note("sent")
    board.note("over")


@case
async def flood(scope, receive, send):
    """Sends 128 MiB, noting how much was handed over so far."""
    board = Board.of(scope)
    await start(send)
    try:
        for count in range(2000):
            await body(send, PIECE, more=True)
            board.note("sent", str(count))
        await body(send)
    finally:
        board.note("over")


@case
async def flood_under_a_timeout(scope, receive, send):
    """The same, but every wait is cut short, again and again: no piece may be lost or doubled."""
    board = Board.of(scope)
    await start(send)
    timeouts = 0
    for number in range(200):
        data = bytes([number]) * 65536
        try:
            await asyncio.wait_for(body(send, data, more=True), 0.001)
        except asyncio.TimeoutError:
            timeouts += 1
            board.note("timed out")
            if timeouts == 3:
                await board.until("read")
    await body(send)
    board.note("over")


@case
async def one_at_a_time(scope, receive, send):
    """Shows that the loop turns while another request of this app waits for its client."""
    await asyncio.sleep(0)
    await answer(send, b"turning")
