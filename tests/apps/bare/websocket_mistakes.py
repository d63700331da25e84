"""ASGI apps that misuse an accepted or not yet accepted websocket; the path names the case.

Those that try something wrong note the exception that it raised, and go on.
"""

import asyncio
import threading
import time

from board import Board
from cases import Cases
from sending import answer

case = Cases()


async def app(scope, receive, send):
    if scope["type"] == "http":
        await answer(send, b"hello")
        return
    await case[scope["path"]](scope, receive, send)


async def accept(receive, send, **more):
    assert (await receive()) == {"type": "websocket.connect"}
    await send({"type": "websocket.accept", **more})


async def text(send, text):
    await send({"type": "websocket.send", "text": text})


async def attempt(send, message):
    try:
        await send(message)
    except Exception as error:
        return type(error).__name__
    return "none"


# Before accept

HEADERS = {
    "crlf": [(b"x-bad", b"a\r\nx-injected: 1")],
    "nul": [(b"x-bad", b"a\0b")],
    "name-space": [(b"x bad", b"a")],
    "name-empty": [(b"", b"a")],
    "text": [("x-bad", "a")],
    "not-a-pair": [(b"x-bad",)],
    "no-list": 5,
}


@case
async def accepts_with_bad_headers(scope, receive, send):
    await accept(receive, send, headers=HEADERS[scope["query_string"].decode()])


@case
async def accepts_with_a_bad_subprotocol(scope, receive, send):
    await accept(receive, send, subprotocol={b"bytes": b"a", b"number": 7}[scope["query_string"]])


@case
async def tries_again(scope, receive, send):
    """The first attempt leaves nothing of itself in the second."""
    await receive()
    wrong = {"type": "websocket.accept", "headers": [(b"x-first", b"1"), (b"x-bad", b"\n")]}
    raised = await attempt(send, wrong)
    await send({"type": "websocket.accept", "headers": [(b"x-second", raised.encode())]})


@case
async def tries_again_and_denies(scope, receive, send):
    await receive()
    wrong = {"type": "websocket.accept", "headers": [(b"x-first", b"1"), (b"x-bad", b"\n")]}
    raised = await attempt(send, wrong)
    start = {"type": "websocket.http.response.start", "status": 401}
    await send({**start, "headers": [(b"x-second", raised.encode())]})
    await send({"type": "websocket.http.response.body", "body": b"no"})


@case
async def sends_the_handshakes_own_headers(scope, receive, send):
    headers = [
        (b"connection", b"close"),
        (b"upgrade", b"h2c"),
        (b"sec-websocket-accept", b"forged"),
        (b"sec-websocket-extensions", b"x-forged"),
        (b"content-length", b"5"),
        (b"transfer-encoding", b"chunked"),
        (b"x-kept", b"1"),
    ]
    await accept(receive, send, headers=headers)
    await text(send, "open")


@case
async def accepts_a_generator_of_headers(scope, receive, send):
    await accept(receive, send, headers=([b"x-n", b"%d" % n] for n in range(3)))


@case
async def accepts_without_receiving(scope, receive, send):
    await send({"type": "websocket.accept"})
    await text(send, (await receive())["type"])


@case
async def sends_first(scope, receive, send):
    await text(send, "too early")


@case
async def sends_http(scope, receive, send):
    await send({"type": "http.response.start", "status": 200, "headers": []})


@case
async def sends_nonsense(scope, receive, send):
    await send({"type": "websocket.nonsense"})


@case
async def sends_no_type(scope, receive, send):
    await send({"text": "x"})


@case
async def exits(scope, receive, send):
    raise SystemExit(3)


@case
async def interrupts(scope, receive, send):
    raise KeyboardInterrupt


@case
async def cancels_itself(scope, receive, send):
    raise asyncio.CancelledError


@case
async def receives_twice(scope, receive, send):
    """The second receive waits, for nothing can come before accept, until the client leaves."""
    board = Board.of(scope)
    await receive()
    board.note("waiting")
    message = await receive()
    board.note("second", message["type"])
    board.note("code", str(message["code"]))


# After accept


@case
async def interrupts_later(scope, receive, send):
    await accept(receive, send)
    raise KeyboardInterrupt


@case
async def cancels_itself_later(scope, receive, send):
    await accept(receive, send)
    raise asyncio.CancelledError


@case
async def raises_after_messages(scope, receive, send):
    await accept(receive, send)
    for number in range(100):
        await text(send, str(number))
    raise ValueError("planted")


@case
async def raises_after_its_close(scope, receive, send):
    await accept(receive, send)
    await send({"type": "websocket.close", "code": 4321})
    raise ValueError("planted")


@case
async def raises_after_the_disconnect(scope, receive, send):
    await accept(receive, send)
    while (await receive())["type"] != "websocket.disconnect":
        pass
    raise ValueError("planted")


@case
async def talks_after_its_close(scope, receive, send):
    board = Board.of(scope)
    await accept(receive, send)
    await send({"type": "websocket.close", "code": 4321})
    for message in (
        {"type": "websocket.send", "text": "more"},
        {"type": "websocket.close"},
        {"type": "websocket.accept"},
    ):
        board.note("attempts", await attempt(send, message))


CLOSES = {
    "text": {"code": "1000"},
    "float": {"code": 1000.0},
    "huge": {"code": 2**70},
    "negative": {"code": -1},
    "5000": {"code": 5000},
    "1004": {"code": 1004},
    "1006": {"code": 1006},
    "1015": {"code": 1015},
    "2999": {"code": 2999},
    "bytes-reason": {"reason": b"why"},
    "long-reason": {"reason": "\u00fc" * 62},
    "surrogate-reason": {"reason": "\ud800"},
}


@case
async def closes_wrongly(scope, receive, send):
    await accept(receive, send)
    wrong = CLOSES[scope["query_string"].decode()]
    await text(send, await attempt(send, {"type": "websocket.close", **wrong}))


@case
async def sends_wrongly(scope, receive, send):
    await accept(receive, send)
    data = {
        "surrogate": {"text": "\ud800"},
        "number": {"text": 7},
        "list": {"bytes": [1, 2]},
        "both": {"text": "", "bytes": b""},
    }[scope["query_string"].decode()]
    await text(send, await attempt(send, {"type": "websocket.send", **data}))


@case
async def sends_kinds_of_bytes(scope, receive, send):
    await accept(receive, send)
    for data in (bytearray(b"one"), memoryview(b"xtwox")[1:4], memoryview(b"t-h-r")[::2]):
        await send({"type": "websocket.send", "bytes": data})


# Ways to receive and send


@case
async def receives_in_many_ways(scope, receive, send):
    """Timeouts and cancelled tasks take no message along."""
    await accept(receive, send)
    for _ in range(3):
        try:
            await asyncio.wait_for(receive(), 0.01)
        except asyncio.TimeoutError:
            await text(send, "timeout")
    task = asyncio.create_task(receive())
    await asyncio.sleep(0)
    task.cancel()
    await asyncio.wait([task])
    await text(send, f"cancelled {task.cancelled()}")
    task = asyncio.create_task(receive())
    await asyncio.wait([task])
    await text(send, task.result()["text"])
    await text(send, (await asyncio.shield(receive()))["text"])


@case
async def receives_in_two_tasks(scope, receive, send):
    await accept(receive, send)
    both = await asyncio.gather(receive(), receive(), return_exceptions=True)
    described = [
        found["text"] if isinstance(found, dict) else type(found).__name__ for found in both
    ]
    await text(send, ",".join(described))


@case
async def sends_from_many_tasks(scope, receive, send):
    await accept(receive, send)
    numbers = range(500)
    await asyncio.gather(*(text(send, f"{number} " + "x" * 1000) for number in numbers))


@case
async def sends_from_a_thread(scope, receive, send):
    await accept(receive, send)
    loop = asyncio.get_running_loop()

    def work():
        for number in range(10):
            asyncio.run_coroutine_threadsafe(text(send, str(number)), loop).result(10)

    await asyncio.to_thread(work)


@case
async def echoes_from_another_task(scope, receive, send):
    """The app's own task ends last; a child does the work."""

    async def echo():
        while (message := await receive())["type"] == "websocket.receive":
            await text(send, message["text"])

    await accept(receive, send)
    child = asyncio.create_task(echo())
    await asyncio.wait([child])


@case
async def leaves_a_task_behind(scope, receive, send):
    """A task that goes on sending after the app has returned."""
    board = Board.of(scope)

    async def later():
        await board.until("go")
        board.note("attempts", await attempt(send, {"type": "websocket.send", "text": "late"}))
        board.note("received", (await receive())["type"])

    await accept(receive, send)
    leaves_a_task_behind.task = asyncio.create_task(later())


@case
async def blocks_its_loop(scope, receive, send):
    board = Board.of(scope)
    await accept(receive, send)
    board.note("running")
    end = time.monotonic() + 30
    while not board.has("go") and time.monotonic() < end:
        time.sleep(0.005)
    await text(send, "unblocked")


@case
async def names_its_thread(scope, receive, send):
    await accept(receive, send)
    await text(send, threading.current_thread().name)
