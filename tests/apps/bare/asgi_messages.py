"""ASGI apps that talk to the server in all the right ways."""

import asyncio
import hashlib
import json
import time

from board import Board
from cases import Cases

case = Cases()
background_tasks = set()


app = case.asgi


async def start(send, status=200, headers=()):
    await send({"type": "http.response.start", "status": status, "headers": list(headers)})


async def answer(send, value):
    await start(send, headers=[(b"content-type", b"application/json")])
    await send({"type": "http.response.body", "body": json.dumps(value).encode()})


def plain(message):
    """A message with its bytes as text, for JSON."""
    return {k: v.decode("latin-1") if isinstance(v, bytes) else v for k, v in message.items()}


@case
async def hello(scope, receive, send):
    await answer(send, "hello")


@case
async def tasks(scope, receive, send):
    """How many other tasks the loop of this app has."""
    await answer(send, len(asyncio.all_tasks()) - 1)


# receive()


@case
async def first_message(scope, receive, send):
    await answer(send, plain(await receive()))


@case
async def second_receive(scope, receive, send):
    """Notes what a second receive() gives, and that it gives nothing before the client leaves."""
    board = Board.of(scope)
    await receive()
    second = asyncio.create_task(receive())
    done, _ = await asyncio.wait([second], timeout=0.2)
    board.note("early", str(bool(done)))
    board.note("waiting")
    board.note("second", json.dumps(plain(await second)))


@case
async def receive_after_the_response(scope, receive, send):
    board = Board.of(scope)
    await receive()
    await answer(send, "sent")
    for _ in range(3):
        message = await receive()
        board.note("messages", message["type"])


@case
async def upload(scope, receive, send):
    sha, size, largest, more = hashlib.sha256(), 0, 0, True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            return
        body = message.get("body", b"")
        sha.update(body)
        size += len(body)
        largest = max(largest, len(body))
        more = message.get("more_body", False)
    await answer(send, {"size": size, "sha256": sha.hexdigest(), "largest": largest})


@case
async def read_when_told(scope, receive, send):
    board = Board.of(scope)
    board.note("running")
    await board.until("read")
    await upload(scope, receive, send)
    board.note("over")


@case
async def ignore(scope, receive, send):
    await answer(send, "not read")


@case
async def refuse(scope, receive, send):
    await start(send, 403, [(b"content-length", b"0")])
    await send({"type": "http.response.body"})


@case
async def receive_in_many_ways(scope, receive, send):
    """receive() under wait_for with a timeout, as a task that is cancelled, and then for real."""
    await receive()
    try:
        await asyncio.wait_for(receive(), 0.01)
    except asyncio.TimeoutError:
        timed_out = True
    task = asyncio.create_task(receive())
    future = asyncio.ensure_future(receive())
    await asyncio.sleep(0)
    task.cancel()
    future.cancel()
    results = await asyncio.gather(task, future, return_exceptions=True)
    cancelled = [isinstance(result, asyncio.CancelledError) for result in results]
    await answer(send, {"timed_out": timed_out, "cancelled": cancelled})


@case
async def real_task(scope, receive, send):
    task = asyncio.current_task()
    await answer(send, {"task": isinstance(task, asyncio.Task), "loop": task is not None})


# send()


@case
async def defaults(scope, receive, send):
    await send({"type": "http.response.start", "status": 200})
    await send({"type": "http.response.body"})


@case
async def status_only(scope, receive, send):
    await start(send, int(scope["query_string"]))
    await send({"type": "http.response.body", "body": b"a body"})


@case
async def sized(scope, receive, send):
    await start(send, headers=[(b"content-length", b"6")])
    await send({"type": "http.response.body", "body": b"a body"})


@case
async def generated_headers(scope, receive, send):
    pairs = {
        "tuple": ((b"x-a", b"1"), (b"x-b", b"2")),
        "lists": [[b"x-a", b"1"], [b"x-b", b"2"]],
        "generator": (pair for pair in [(b"x-a", b"1"), (b"x-b", b"2")]),
    }[scope["query_string"].decode()]
    await send({"type": "http.response.start", "status": 200, "headers": pairs})
    await send({"type": "http.response.body", "body": b"ok"})


@case
async def kinds_of_bytes(scope, receive, send):
    await start(send)
    await send({"type": "http.response.body", "body": bytearray(b"one "), "more_body": True})
    await send({"type": "http.response.body", "body": memoryview(b"two"), "more_body": False})


@case
async def hop_by_hop(scope, receive, send):
    headers = [
        (b"connection", b"x-secret"),
        (b"keep-alive", b"timeout=99"),
        (b"upgrade", b"x"),
        (b"transfer-encoding", b"chunked"),
    ]
    await start(send, headers=headers)
    await send({"type": "http.response.body", "body": b"body"})


@case
async def piece_by_piece(scope, receive, send):
    board = Board.of(scope)
    await start(send)
    await send({"type": "http.response.body", "body": b"first", "more_body": True})
    await board.until("second")
    await send({"type": "http.response.body", "body": b"second"})


@case
async def flood(scope, receive, send):
    """Sends 128 MB, noting how much was handed over so far."""
    board = Board.of(scope)
    await start(send)
    try:
        for count in range(2000):
            await send({"type": "http.response.body", "body": bytes(65536), "more_body": True})
            board.note("sent", str(count))
        await send({"type": "http.response.body"})
    finally:
        board.note("over")


@case
async def endless(scope, receive, send):
    """Sends until nobody listens, and notes how it learns of it."""
    board = Board.of(scope)
    await start(send)
    try:
        while True:
            await send({"type": "http.response.body", "body": bytes(65536), "more_body": True})
            board.note("sent")
    except OSError as error:
        board.note("closed", type(error).__name__)


@case
async def endless_without_a_care(scope, receive, send):
    """The same without handling the error: a client that left is no error of the app."""
    board = Board.of(scope)
    await start(send)
    try:
        while True:
            await send({"type": "http.response.body", "body": bytes(65536), "more_body": True})
            board.note("sent")
    finally:
        board.note("closed")


# Time


@case
async def patient(scope, receive, send):
    board = Board.of(scope)
    board.note("running")
    await board.until("go")
    await answer(send, "done")


@case
async def listens_for_the_end(scope, receive, send):
    """Runs until its client leaves."""
    board = Board.of(scope)
    while (await receive())["type"] != "http.disconnect":
        board.note("running")
    board.note("closed")


@case
async def sleepy(scope, receive, send):
    board = Board.of(scope)
    board.note("running")
    await asyncio.sleep(0.02)
    board.note("done")
    await answer(send, "rested")


@case
async def blocks_its_loop(scope, receive, send):
    board = Board.of(scope)
    board.note("running")
    board.wait("go")
    await answer(send, "done")


@case
async def busy(scope, receive, send):
    """Keeps the interpreter busy rather than asleep."""
    end = time.thread_time() + 0.2
    while time.thread_time() < end:
        pass
    await answer(send, "done")


@case
async def background(scope, receive, send):
    """Leaves a task behind that outlives the request."""
    board = Board.of(scope)

    async def later():
        await board.until("go")
        board.note("finished")

    task = asyncio.create_task(later())
    background_tasks.add(task)  # The loop itself keeps only weak references.
    task.add_done_callback(background_tasks.discard)
    await answer(send, "started")
