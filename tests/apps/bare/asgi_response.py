"""ASGI apps that answer in all the right ways: heads, lengths, headers, no bodies."""

from board import Board
from cases import Cases
from sending import answer, body, start

case = Cases()

PLAIN = [(b"content-type", b"text/plain")]


app = case.asgi


@case
async def hello(scope, receive, send):
    await answer(send, b"hello", headers=PLAIN)


# Messages


@case
async def defaults(scope, receive, send):
    await send({"type": "http.response.start", "status": 200})
    await send({"type": "http.response.body"})


@case
async def more_body_is_truthy(scope, receive, send):
    await start(send)
    await send({"type": "http.response.body", "body": b"one ", "more_body": 1})
    await send({"type": "http.response.body", "body": b"two", "more_body": 0})


@case
async def unknown_keys(scope, receive, send):
    await send({"type": "http.response.start", "status": 200, "headers": [], "x": 1})
    await send({"type": "http.response.body", "body": b"one ", "more_body": True, "x": 2})
    await send({"type": "http.response.body", "body": b"two", "x": 3})


@case
async def kinds_of_dict(scope, receive, send):
    class Message(dict):
        pass

    await send(Message(type="http.response.start", status=200, headers=PLAIN))
    await send(Message(type="http.response.body", body=b"one two"))


@case
async def messages_that_change(scope, receive, send):
    """The server must not look at a message again once send() has returned."""
    block = bytearray(b"one ")
    message = {"type": "http.response.body", "body": block, "more_body": True}
    await start(send)
    await send(message)
    block[:] = b"two "
    await send(message)
    message.clear()
    block[:] = b"xxxx"
    await body(send)


@case
async def made_headers(scope, receive, send):
    pairs = {
        "tuple": ((b"x-a", b"1"), (b"x-b", b"2")),
        "lists": [[b"x-a", b"1"], [b"x-b", b"2"]],
        "generator": (pair for pair in [(b"x-a", b"1"), (b"x-b", b"2")]),
        "generators": [(part for part in pair) for pair in [(b"x-a", b"1"), (b"x-b", b"2")]],
        "items": {b"x-a": b"1", b"x-b": b"2"}.items(),
        "iterator": iter([(b"x-a", b"1"), (b"x-b", b"2")]),
    }[scope["query_string"].decode()]
    await send({"type": "http.response.start", "status": 200, "headers": pairs})
    await body(send, b"ok")


@case
async def kinds_of_bytes(scope, receive, send):
    class Bytes(bytes):
        pass

    await start(send)
    for block in [
        bytearray(b"one "),
        memoryview(b"two "),
        memoryview(b"t.h.r.e.e. ")[::2],
        memoryview(bytearray(b"four ")),
        Bytes(b"five"),
    ]:
        await body(send, block, more=True)
    await body(send, bytearray())


# The length of the body


@case
async def in_one(scope, receive, send):
    await answer(send, b"x" * 10, headers=PLAIN)


@case
async def in_one_with_length(scope, receive, send):
    await answer(send, b"x" * 10, headers=[*PLAIN, (b"content-length", b"10")])


@case
async def own_length(scope, receive, send):
    await start(send, headers=[*PLAIN, (b"Content-Length", b"10")])
    await body(send, b"x" * 5, more=True)
    await body(send, b"", more=True)
    await body(send, b"x" * 5, more=True)
    await body(send)


@case
async def unknown_length(scope, receive, send):
    await start(send, headers=PLAIN)
    await body(send, b"x" * 5, more=True)
    await body(send, b"x" * 5)


@case
async def one_length_given_twice(scope, receive, send):
    await answer(send, b"x" * 10, headers=[(b"content-length", b"10")] * 2)


@case
async def nothing(scope, receive, send):
    await answer(send, headers=PLAIN)


@case
async def nothing_in_pieces(scope, receive, send):
    await start(send, headers=PLAIN)
    await body(send, more=True)
    await body(send, more=True)
    await body(send)


@case
async def of_a_size(scope, receive, send):
    await answer(send, bytes(range(256)) * (int(scope["query_string"]) // 256))


# Statuses, and no body


@case
async def own_status(scope, receive, send):
    await answer(send, b"as asked", int(scope["query_string"]), PLAIN)


@case
async def own_status_in_pieces(scope, receive, send):
    await start(send, int(scope["query_string"]), PLAIN)
    await body(send, b"as ", more=True)
    await body(send, b"asked")


@case
async def own_status_with_length(scope, receive, send):
    headers = [*PLAIN, (b"content-length", b"8")]
    await answer(send, b"as asked", int(scope["query_string"]), headers)


@case
async def own_status_alone(scope, receive, send):
    """A head that promises a body which an answer of this kind must not have."""
    headers = [*PLAIN, (b"content-length", b"8")]
    await answer(send, b"", int(scope["query_string"]), headers)


@case
async def no_body_for_head(scope, receive, send):
    await answer(send, b"" if scope["method"] == "HEAD" else b"a body", headers=PLAIN)


@case
async def endless(scope, receive, send):
    """Sends until nobody listens."""
    board = Board.of(scope)
    await start(send)
    try:
        while True:
            await body(send, bytes(65536), more=True)
            board.note("sent")
    finally:
        board.note("closed")


@case
async def counts_after_a_head(scope, receive, send):
    """Sends a few pieces and ends, whether they are wanted or not."""
    board = Board.of(scope)
    await start(send, headers=PLAIN)
    for _ in range(3):
        await body(send, b"x" * 1000, more=True)
    await body(send)
    board.note("closed")


# Headers


@case
async def repeated_headers(scope, receive, send):
    names = [b"x-many", b"X-Many", b"x-other", b"x-mAnY", b"x-other", b"x-many"]
    headers = [(name, b"%d" % number) for number, name in enumerate(names)]
    cookies = [(b"set-cookie", b"a=1; Path=/"), (b"Set-Cookie", b"b=2"), (b"set-cookie", b"a=1")]
    await answer(send, b"many", headers=[*headers, *cookies])


@case
async def many_headers(scope, receive, send):
    await answer(send, b"", headers=[(b"x-%d" % number, b"%d" % number) for number in range(300)])


@case
async def odd_values(scope, receive, send):
    headers = [
        (b"x-latin", "caf\u00e9 \u00ff".encode("latin-1")),
        (b"x-utf", "caf\u00e9".encode()),
        (b"x-empty", b""),
        (b"x-tab", b"a\tb"),
        (b"x-space", b" \ta b\t "),
        (b"x-long", b"x" * 20_000),
        (b"!#$%&'*+-.^_`|~09az", b"token"),
    ]
    await answer(send, b"", headers=headers)


HOP_BY_HOP = [
    (b"connection", b"x-secret"),
    (b"keep-alive", b"timeout=99"),
    (b"proxy-connection", b"keep-alive"),
    (b"te", b"trailers"),
    (b"transfer-encoding", b"chunked"),
    (b"upgrade", b"x"),
]


@case
async def hop_by_hop(scope, receive, send):
    await answer(send, b"body", headers=HOP_BY_HOP)


@case
async def hop_by_hop_in_pieces(scope, receive, send):
    await start(send, headers=HOP_BY_HOP)
    await body(send, b"bo", more=True)
    await body(send, b"dy")


@case
async def hop_by_hop_with_length(scope, receive, send):
    await start(send, headers=[*HOP_BY_HOP, (b"content-length", b"4")])
    await body(send, b"bo", more=True)
    await body(send, b"dy")


@case
async def wants_to_close(scope, receive, send):
    await answer(send, b"body", headers=[(b"connection", b"close")])


@case
async def announces_trailers(scope, receive, send):
    """As plain headers, without the extension."""
    await start(send, headers=[(b"trailer", b"x-sum"), (b"x-sum", b"1")])
    await body(send, b"bo", more=True)
    await body(send, b"dy")


@case
async def dated(scope, receive, send):
    headers = [(b"date", b"Mon, 01 Jan 2001 00:00:00 GMT"), (b"server", b"of the app")]
    await answer(send, b"dated", headers=headers)


@case
async def no_type(scope, receive, send):
    await answer(send, b"<html>")
