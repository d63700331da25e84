"""Ways to wait for a message until it comes, and what else is done with a call of receive()."""

import asyncio
import contextlib
import threading
import time

import anyio
from board import Board
from cases import Cases
from sending import answer, body, read, start

case = Cases()


async def in_person(receive):
    return await receive()


async def as_a_task(receive):
    return await asyncio.create_task(receive())


async def as_a_future(receive):
    return await asyncio.ensure_future(receive())


async def in_a_gathering(receive):
    (message,) = await asyncio.gather(receive())
    return message


async def shielded(receive):
    return await asyncio.shield(receive())


async def in_wait(receive):
    done, _ = await asyncio.wait([asyncio.ensure_future(receive())])
    return done.pop().result()


async def as_completed(receive):
    for future in asyncio.as_completed([receive()]):
        return await future


async def in_an_asyncio_group(receive):
    async with asyncio.TaskGroup() as group:
        task = group.create_task(receive())
    return task.result()


async def in_an_anyio_group(receive):
    messages = []

    async def child():
        messages.append(await receive())

    async with anyio.create_task_group() as group:
        group.start_soon(child)
    return messages[0]


async def by_name(receive):
    task = asyncio.create_task(receive(), name="my receive")
    assert task.get_name() == "my receive"
    repr(task)
    task.get_stack()
    return await task


async def after_a_cancelled_one(receive):
    task = asyncio.create_task(receive())
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    return await receive()


async def from_another_thread(receive):
    loop = asyncio.get_running_loop()
    found = loop.create_future()

    async def get():
        return await receive()

    def wait():
        message = asyncio.run_coroutine_threadsafe(get(), loop).result()
        loop.call_soon_threadsafe(found.set_result, message)

    threading.Thread(target=wait).start()
    return await found


WAITS = {
    function.__name__: function
    for function in (
        in_person,
        as_a_task,
        as_a_future,
        in_a_gathering,
        shielded,
        in_wait,
        as_completed,
        in_an_asyncio_group,
        in_an_anyio_group,
        by_name,
        after_a_cancelled_one,
        from_another_thread,
    )
}


@case
async def waits(scope, receive, send):
    """Reads the body and waits for the end of the client, both in the way asked for."""
    wait = WAITS[scope["query_string"].decode()]
    board = Board.of(scope)
    data, more = b"", True
    while more:
        message = await wait(receive)
        data += message["body"]
        more = message.get("more_body", False)
    await start(send)
    await body(send, data, more=True)
    board.note("read")
    message = await wait(receive)
    board.note("end", message["type"])


@case
async def many_wait_at_once(scope, receive, send):
    """Several wait for the body at once, each piece goes to one of them; then all hear the end."""
    board = Board.of(scope)
    pieces = []

    async def reader():
        while True:
            message = await receive()
            if message["type"] == "http.disconnect":
                board.note("ends")
                return
            pieces.append(message["body"])
            board.note("pieces")
            if not message.get("more_body", False):
                await start(send)
                await body(send, b"".join(sorted(pieces)), more=True)

    await asyncio.gather(*(reader() for _ in range(5)))


@case
async def awaited_late(scope, receive, send):
    """What receive() and send() return may be kept for a while and awaited elsewhere."""
    kept = receive()
    await asyncio.sleep(0.001)
    message = await asyncio.create_task(kept)
    kept = send({"type": "http.response.start", "status": 200})
    await asyncio.sleep(0.001)
    await kept
    await body(send, message["body"])


@case
async def never_awaited(scope, receive, send):
    """A call of receive() that nobody awaits takes nothing."""
    receive()
    await answer(send, await read(receive) or b"nothing")


@case
async def too_late(scope, receive, send):
    """A timeout that is due when the loop hears of a message: one of the two wins, whole."""
    board = Board.of(scope)
    look = asyncio.create_task(asyncio.wait_for(asyncio.create_task(receive()), 0.02))
    await asyncio.sleep(0.001)
    board.note("looking")
    board.wait("sent")  # blocks the loop
    time.sleep(0.1)  # until after the timeout, and until the message is there
    try:
        message = await look
    except asyncio.TimeoutError:
        message = await receive()
    await answer(send, message["body"])


@case
async def cancelled_before_it_ran(scope, receive, send):
    """Nor does a task that is cancelled before its first step."""
    task = asyncio.create_task(receive())
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    await answer(send, await read(receive) or b"nothing")


@case
async def waited_for_no_time(scope, receive, send):
    """A look without patience either gives the message or leaves it."""
    try:
        message = await asyncio.wait_for(receive(), 0)
    except asyncio.TimeoutError:
        message = await receive()
    await answer(send, message.get("body") or b"nothing")


@case
async def awaited_twice(scope, receive, send):
    """The second time is an error or nothing, never a crash."""
    outcomes = []
    for awaitable in (receive(), send({"type": "http.response.start", "status": 200})):
        await awaitable
        with contextlib.suppress(RuntimeError):
            outcomes.append(await awaitable)
    await body(send, repr(outcomes).encode())


@case
async def driven_by_hand(scope, receive, send):
    """The awaitables speak the coroutine protocol, also with throw() and close()."""
    closed = receive()
    closed.close()
    thrown = receive()
    with contextlib.suppress(LookupError):
        thrown.throw(LookupError("planted: thrown"))
    receive().__await__()
    await answer(send, await read(receive) or b"nothing")
