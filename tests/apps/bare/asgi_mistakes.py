"""ASGI apps that break the rules. None may crash, hang or leak, and none may look like success."""

import asyncio
import sys

from board import Board
from cases import Cases
from sending import answer, answer_json, body, start

case = Cases()
app = case.asgi


@case
async def hello(scope, receive, send):
    await answer(send, b"hello")


# Before the first body


@case
async def raises(scope, receive, send):
    raise ValueError("planted: raises")


@case
async def raises_a_group(scope, receive, send):
    async def fails():
        raise ValueError("planted: in a group")

    async with asyncio.TaskGroup() as group:
        group.create_task(fails())


@case
async def returns_without_sending(scope, receive, send):
    pass


@case
async def reads_and_returns(scope, receive, send):
    await receive()


@case
async def raises_after_start(scope, receive, send):
    await start(send)
    raise ValueError("planted: after start")


@case
async def returns_after_start(scope, receive, send):
    await start(send)


@case
async def exits(scope, receive, send):
    sys.exit(3)


@case
async def interrupts(scope, receive, send):
    raise KeyboardInterrupt


@case
async def generator_exits(scope, receive, send):
    raise GeneratorExit


@case
async def stops_async_iteration(scope, receive, send):
    raise StopAsyncIteration


@case
async def cancels_itself(scope, receive, send):
    asyncio.current_task().cancel()
    await asyncio.sleep(0)


@case
async def raises_cancelled_error(scope, receive, send):
    raise asyncio.CancelledError


@case
async def awaits_forever_yielded_nonsense(scope, receive, send):
    class Nonsense:
        def __await__(self):
            yield "not a future"

    await Nonsense()


@case
async def body_before_start(scope, receive, send):
    await body(send, b"too early")


@case
async def starts_twice(scope, receive, send):
    await start(send)
    await start(send)


# What HTTP or ASGI cannot carry

MESSAGES = {
    "unknown": {"type": "http.response.nonsense"},
    "websocket": {"type": "websocket.accept"},
    "lifespan": {"type": "lifespan.startup.complete"},
    "request": {"type": "http.request", "body": b""},
    "bytes-type": {"type": b"http.response.start", "status": 200},
    "none-type": {"type": None},
    "list-type": {"type": []},
    "no-type": {"status": 200},
    "empty": {},
    "text": "http.response.start",
    "none": None,
    "pairs": [("type", "http.response.start"), ("status", 200)],
    "no-status": {"type": "http.response.start"},
    "body-too-early": {"type": "http.response.body", "body": b"too early"},
}

STATUSES = {
    "99": 99,
    "100": 100,
    "101": 101,
    "103": 103,
    "199": 199,
    "1000": 1000,
    "zero": 0,
    "negative": -1,
    "huge": 2**70,
    "text": "200",
    "bytes": b"200",
    "none": None,
    "true": True,
    "float": 200.0,
}

HEADERS = {
    "cr": (b"x-bad", b"a\rx-injected: 1"),
    "lf": (b"x-bad", b"a\nx-injected: 1"),
    "crlf": (b"x-bad", b"a\r\nx-injected: 1"),
    "nul": (b"x-bad", b"a\0b"),
    "control": (b"x-bad", b"a\x1bb"),
    "delete": (b"x-bad", b"a\x7f"),
    "name-space": (b"x bad", b"a"),
    "name-colon": (b"x:bad", b"a"),
    "name-crlf": (b"x-bad\r\nx-injected", b"a"),
    "name-nul": (b"x-bad\0", b"a"),
    "name-not-ascii": ("x-b\u00e4d".encode(), b"a"),
    "name-empty": (b"", b"a"),
    "pseudo": (b":status", b"201"),
    "text": ("x-bad", "a"),
    "text-name": ("x-bad", b"a"),
    "text-value": (b"x-bad", "a"),
    "number": (b"x-bad", 7),
    "none": (b"x-bad", None),
    "not-a-pair": (b"x-bad",),
    "three": (b"x-bad", b"a", b"b"),
    "bytes-pair": b"ab",
    "not-a-tuple": 5,
}

BODIES = {"text": "text", "number": 7, "none": None, "list": [b"a"], "pair": (b"a", b"b")}

LENGTHS = {
    "text": [b"ten"],
    "negative": [b"-10"],
    "signed": [b"+10"],
    "fraction": [b"10.0"],
    "hexadecimal": [b"0xa"],
    "empty": [b""],
    "list": [b"10, 10"],
    "huge": [b"9" * 30],
    "different": [b"10", b"5"],
}


class NotIterable:
    """Headers that fail while they are read."""

    def __iter__(self):
        yield b"x-bad", b"a"
        raise LookupError("planted: while the headers are read")


HEADER_LISTS = {"number": 5, "none": None, "text": "x-bad: a", "failing": NotIterable()}


def mistake(name):
    """Sends the head or message with the mistake `<kind>/<which>`, and something before it."""
    kind, _, which = name.partition("/")
    if kind == "message":
        return [MESSAGES[which]]
    if kind == "status":
        return [{"type": "http.response.start", "status": STATUSES[which], "headers": []}]
    if kind == "header":
        good = (b"x-good", b"1")
        return [{"type": "http.response.start", "status": 200, "headers": [good, HEADERS[which]]}]
    if kind == "headers":
        return [{"type": "http.response.start", "status": 200, "headers": HEADER_LISTS[which]}]
    if kind == "length":
        headers = [(b"content-length", value) for value in LENGTHS[which]]
        return [{"type": "http.response.start", "status": 200, "headers": headers}]
    assert kind == "body"
    head = {"type": "http.response.start", "status": 200, "headers": []}
    return [head, {"type": "http.response.body", "body": BODIES[which]}]


@case
async def makes_a_mistake(scope, receive, send):
    for message in mistake(scope["query_string"].decode()):
        await send(message)
    await body(send, b"must not be sent")


@case
async def catches_its_mistake(scope, receive, send):
    """Notices at `await send`, and answers as if nothing had happened."""
    *before, message = mistake(scope["query_string"].decode())
    for good in before:
        await send(good)
    try:
        await send(message)
    except Exception as error:
        caught = type(error).__name__
    else:
        caught = "nothing"
    if not before:
        await start(send, headers=[(b"x-own", b"1")])
    await body(send, caught.encode())


# After the first body


@case
async def raises_mid_stream(scope, receive, send):
    await start(send)
    await body(send, b"x" * 1000, more=True)
    raise ValueError("planted: mid stream")


@case
async def raises_in_an_empty_stream(scope, receive, send):
    await start(send)
    await body(send, b"", more=True)
    raise ValueError("planted: mid stream")


@case
async def returns_mid_stream(scope, receive, send):
    await start(send)
    await body(send, b"x" * 1000, more=True)


@case
async def exits_mid_stream(scope, receive, send):
    await start(send)
    await body(send, b"x" * 1000, more=True)
    sys.exit(3)


@case
async def interrupts_mid_stream(scope, receive, send):
    await start(send)
    await body(send, b"x" * 1000, more=True)
    raise KeyboardInterrupt


@case
async def is_cancelled_mid_stream(scope, receive, send):
    await start(send)
    await body(send, b"x" * 1000, more=True)
    asyncio.current_task().cancel()
    await asyncio.sleep(0)


@case
async def text_body_mid_stream(scope, receive, send):
    await start(send)
    await body(send, b"x" * 1000, more=True)
    await body(send, "text, not bytes")


@case
async def starts_again_mid_stream(scope, receive, send):
    await start(send)
    await body(send, b"x" * 1000, more=True)
    await start(send, 500)


@case
async def catches_a_mistake_mid_stream(scope, receive, send):
    await start(send)
    await body(send, b"one ", more=True)
    for message in [
        {"type": "http.response.start", "status": 500},
        {"type": "http.response.body", "body": "text"},
        {"type": "http.response.nonsense"},
        None,
    ]:
        try:
            await send(message)
        except Exception:
            await body(send, b"caught ", more=True)
    await body(send, b"two")


# Against the Content-Length


def promise(length):
    return [(b"content-length", b"%d" % length)]


@case
async def too_short(scope, receive, send):
    await answer(send, b"12345", headers=promise(10))


@case
async def too_short_in_pieces(scope, receive, send):
    await start(send, headers=promise(10))
    await body(send, b"123", more=True)
    await body(send, b"45")


@case
async def nothing_of_it(scope, receive, send):
    await answer(send, b"", headers=promise(10))


@case
async def too_long(scope, receive, send):
    await answer(send, b"12345HTTP/1.1 200 OK\r\nX-Smuggled: 1\r\n\r\n", headers=promise(5))


@case
async def too_long_in_pieces(scope, receive, send):
    await start(send, headers=promise(5))
    await body(send, b"12345", more=True)
    await body(send, b"HTTP/1.1 200 OK\r\nX-Smuggled: 1\r\n\r\n")


# After the response


@case
async def body_after_the_end(scope, receive, send):
    """Notes what came of messages that nobody can take any more."""
    board = Board.of(scope)
    await answer(send, b"complete")
    for message in [
        {"type": "http.response.body", "body": b"must not be sent"},
        {"type": "http.response.start", "status": 500},
        {"type": "http.response.nonsense"},
    ]:
        try:
            await send(message)
        except Exception as error:
            board.note("raised", type(error).__name__)


@case
async def raises_after_the_end(scope, receive, send):
    await answer(send, b"complete")
    raise ValueError("planted: after the end")


@case
async def exits_after_the_end(scope, receive, send):
    await answer(send, b"complete")
    sys.exit(3)


# Apps that are no coroutine functions


async def later_by(seconds, send):
    await asyncio.sleep(seconds)
    await answer_json(send, "an app of another shape")


def returns_a_future(scope, receive, send):
    return asyncio.ensure_future(later_by(0, send))


def returns_an_awaitable(scope, receive, send):
    class Awaitable:
        def __await__(self):
            return later_by(0, send).__await__()

    return Awaitable()


def returns_nothing(scope, receive, send):
    return None


def returns_a_list(scope, receive, send):
    return [b"as if it were WSGI"]


def raises_at_once(scope, receive, send):
    raise ValueError("planted: no coroutine")


def yields(scope, receive, send):
    yield b"as if it were WSGI"


async def yields_asynchronously(scope, receive, send):
    yield b"as if it were WSGI"


async def takes_too_little(scope):
    await asyncio.sleep(0)
