"""ASGI apps that break the rules. None may crash, hang or leak, and none may look like success."""

import sys

from board import Board
from cases import Cases

case = Cases()


async def app(scope, receive, send):
    assert scope["type"] == "http"
    await case[scope["path"]](scope, receive, send)


async def start(send, status=200, headers=()):
    await send({"type": "http.response.start", "status": status, "headers": list(headers)})


async def body(send, data, more=False):
    await send({"type": "http.response.body", "body": data, "more_body": more})


@case
async def hello(scope, receive, send):
    await start(send)
    await body(send, b"hello")


# Before the first body


@case
async def raises(scope, receive, send):
    raise ValueError("planted: raises")


@case
async def returns_without_sending(scope, receive, send):
    pass


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
async def body_before_start(scope, receive, send):
    await body(send, b"too early")


@case
async def starts_twice(scope, receive, send):
    await start(send)
    await start(send)


@case
async def bad_message(scope, receive, send):
    message = {
        "unknown": {"type": "http.response.nonsense"},
        "websocket": {"type": "websocket.accept"},
        "no-type": {"status": 200},
        "text": "http.response.start",
        "none": None,
        "no-status": {"type": "http.response.start"},
    }[scope["query_string"].decode()]
    await send(message)
    await body(send, b"must not be sent")


@case
async def bad_status(scope, receive, send):
    status = {
        "99": 99,
        "1000": 1000,
        "zero": 0,
        "negative": -1,
        "huge": 2**70,
        "text": "200",
        "none": None,
        "true": True,
        "float": 200.0,
    }[scope["query_string"].decode()]
    await start(send, status)
    await body(send, b"must not be sent")


@case
async def bad_header(scope, receive, send):
    header = {
        "cr": (b"x-bad", b"a\rx-injected: 1"),
        "lf": (b"x-bad", b"a\nx-injected: 1"),
        "crlf": (b"x-bad", b"a\r\nx-injected: 1"),
        "nul": (b"x-bad", b"a\0b"),
        "name-space": (b"x bad", b"a"),
        "name-colon": (b"x:bad", b"a"),
        "name-crlf": (b"x-bad\r\nx-injected", b"a"),
        "name-empty": (b"", b"a"),
        "text": ("x-bad", "a"),
        "number": (b"x-bad", 7),
        "not-a-pair": (b"x-bad",),
        "not-a-tuple": 5,
    }[scope["query_string"].decode()]
    await start(send, headers=[header])
    await body(send, b"must not be sent")


@case
async def headers_are_no_list(scope, receive, send):
    await send({"type": "http.response.start", "status": 200, "headers": 5})
    await body(send, b"must not be sent")


@case
async def text_body(scope, receive, send):
    await start(send)
    await body(send, "text, not bytes")


# After the first body


@case
async def raises_mid_stream(scope, receive, send):
    await start(send)
    await body(send, b"x" * 1000, more=True)
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
async def promises_more_than_it_sends(scope, receive, send):
    await start(send, headers=[(b"content-length", b"10")])
    await body(send, b"12345")


@case
async def sends_more_than_it_promised(scope, receive, send):
    await start(send, headers=[(b"content-length", b"5")])
    await body(send, b"12345", more=True)
    await body(send, b"HTTP/1.1 200 OK\r\nX-Smuggled: 1\r\n\r\n")


@case
async def promise_is_no_number(scope, receive, send):
    await start(send, headers=[(b"content-length", b"ten")])
    await body(send, b"0123456789")


@case
async def two_promises(scope, receive, send):
    await start(send, headers=[(b"content-length", b"10"), (b"content-length", b"5")])
    await body(send, b"0123456789")


# After the response


@case
async def body_after_the_end(scope, receive, send):
    await start(send)
    await body(send, b"complete")
    Board.of(scope).note("sent")
    await body(send, b"must not be sent")


@case
async def raises_after_the_end(scope, receive, send):
    await start(send)
    await body(send, b"complete")
    raise ValueError("planted: after the end")
