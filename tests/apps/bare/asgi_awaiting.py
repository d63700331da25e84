"""ASGI apps that await receive() and send() in every way asyncio and anyio know.

Most answer with a JSON list of what happened, for the test to compare.
"""

import asyncio
import contextlib
import threading
import time

import anyio
import anyio.from_thread
import anyio.to_thread
import sniffio
from board import Board
from cases import Cases
from sending import answer, answer_json, body, read, start

case = Cases()


async def app(scope, receive, send):
    assert scope["type"] == "http"
    await case[scope["path"]](scope, receive, send)


@case
async def hello(scope, receive, send):
    await answer(send, b"hello")


@case
async def tasks(scope, receive, send):
    """How many other tasks the loop of this app has."""
    await answer_json(send, len(asyncio.all_tasks()) - 1)


# Ways to wait a little for a message: the message, or None if it did not come


async def by_wait_for(receive):
    try:
        return await asyncio.wait_for(receive(), 0.002)
    except asyncio.TimeoutError:
        return None


async def by_wait_for_a_task(receive):
    try:
        return await asyncio.wait_for(asyncio.create_task(receive()), 0.002)
    except asyncio.TimeoutError:
        return None


async def by_asyncio_timeout(receive):
    try:
        async with asyncio.timeout(0.002):
            return await receive()
    except TimeoutError:
        return None


async def by_move_on_after(receive):
    with anyio.move_on_after(0.002):
        return await receive()


async def by_fail_after(receive):
    try:
        with anyio.fail_after(0.002):
            return await receive()
    except TimeoutError:
        return None


async def by_a_cancelled_scope(receive):
    """As frameworks look whether a client is still there."""
    await asyncio.sleep(0.002)
    with anyio.CancelScope() as scope:
        scope.cancel()
        return await receive()


async def by_a_cancelled_task(receive):
    task = asyncio.create_task(receive())
    await asyncio.wait([task], timeout=0.002)
    if task.done():
        return task.result()
    task.cancel()
    try:
        return await task
    except asyncio.CancelledError:
        return None


async def by_a_task_group(receive):
    messages = []

    async def child(scope):
        messages.append(await receive())
        scope.cancel()

    async with anyio.create_task_group() as group:
        group.start_soon(child, group.cancel_scope)
        await asyncio.sleep(0.002)
        group.cancel_scope.cancel()
    return messages[0] if messages else None


POLLS = {
    function.__name__: function
    for function in (
        by_wait_for,
        by_wait_for_a_task,
        by_asyncio_timeout,
        by_move_on_after,
        by_fail_after,
        by_a_cancelled_scope,
        by_a_cancelled_task,
        by_a_task_group,
    )
}


@case
async def polls(scope, receive, send):
    """Reads the body by short looks, most of which end with nothing; then looks for the end."""
    poll = POLLS[scope["query_string"].decode()]
    board = Board.of(scope)
    in_vain = 0

    async def patiently():
        nonlocal in_vain
        while (message := await poll(receive)) is None:
            in_vain += 1
            if in_vain in (10, 20):
                board.note("in vain")
        return message

    data, more = b"", True
    while more:
        message = await patiently()
        assert message["type"] == "http.request", message
        data += message["body"]
        more = message.get("more_body", False)
    await start(send)
    await body(send, data, more=True)
    board.note("read")
    message = await patiently()
    board.note("end", message["type"])


# Ways to wait for a message until it comes


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


# send()


@case
async def sends_in_many_ways(scope, receive, send):
    loop = asyncio.get_running_loop()
    sent = loop.create_future()

    def message(text):
        return {"type": "http.response.body", "body": text, "more_body": True}

    async def say(text):
        await send(message(text))

    await asyncio.create_task(send({"type": "http.response.start", "status": 200}))
    await asyncio.wait_for(send(message(b"one ")), 10)
    await asyncio.gather(send(message(b"two ")), send(message(b"three ")))
    await asyncio.shield(send(message(b"four ")))
    with anyio.fail_after(10):
        await send(message(b"five "))
    async with anyio.create_task_group() as group:
        group.start_soon(send, message(b"six "))
    await anyio.to_thread.run_sync(anyio.from_thread.run, say, b"seven ")

    def elsewhere():
        asyncio.run_coroutine_threadsafe(say(b"eight "), loop).result()
        later = asyncio.run_coroutine_threadsafe
        loop.call_soon_threadsafe(lambda: sent.set_result(later(say(b"nine "), loop)))

    threading.Thread(target=elsewhere).start()
    await asyncio.wrap_future(await sent)
    await body(send, b"ten")


@case
async def is_called_from_foreign_threads(scope, receive, send):
    """Wrong, and a mess is allowed to come of it, but not a dead server."""
    stop = threading.Event()

    def call():
        while not stop.is_set():
            for function, arguments in [
                (receive, ()),
                (send, ({"type": "http.response.body", "body": b"x" * 100, "more_body": True},)),
                (send, ({"type": "http.response.start", "status": 200},)),
            ]:
                with contextlib.suppress(Exception):
                    function(*arguments)

    threads = [threading.Thread(target=call) for _ in range(4)]
    await start(send)
    for thread in threads:
        thread.start()
    for _ in range(50):
        await body(send, b"y" * 100, more=True)
        await asyncio.sleep(0.002)
    stop.set()
    for thread in threads:
        await asyncio.to_thread(thread.join)
    await body(send)


# The task around it


@case
async def real_task(scope, receive, send):
    task = asyncio.current_task()
    loop = asyncio.get_running_loop()
    coroutine = task.get_coro()
    await answer_json(
        send,
        {
            "is a task": isinstance(task, asyncio.Task),
            "of this loop": task.get_loop() is loop,
            "listed": task in asyncio.all_tasks(),
            "is a coroutine": asyncio.iscoroutine(coroutine),
            "named": coroutine.__qualname__ == "app",
            "has a stack": "app" in [frame.f_code.co_name for frame in task.get_stack()],
            "sniffio": sniffio.current_async_library() == "asyncio",
            "anyio": bool(anyio.get_current_task().name),
        },
    )


@case
async def asyncio_tools(scope, receive, send):
    """Locks, queues, events, futures, timers, executors and async generators all work."""
    loop = asyncio.get_running_loop()
    done = []
    lock, queue, event = asyncio.Lock(), asyncio.Queue(), asyncio.Event()
    async with lock:
        done.append("lock")
    queue.put_nowait("queue")
    done.append(await queue.get())
    loop.call_later(0.001, event.set)
    await event.wait()
    done.append("event")
    future = loop.create_future()
    loop.call_soon_threadsafe(future.set_result, "future")
    done.append(await future)
    done.append(await asyncio.to_thread(lambda: "thread"))
    done.append(await loop.run_in_executor(None, lambda: "executor"))
    done.append(await anyio.to_thread.run_sync(lambda: "anyio thread"))

    async def numbers():
        try:
            yield 1
            yield 2
        finally:
            done.append("generator closed")

    generator = numbers()
    async for _ in generator:
        break
    await generator.aclose()
    sending, receiving = anyio.create_memory_object_stream(1)
    async with sending, receiving:
        await sending.send("stream")
        done.append(await receiving.receive())
    await answer_json(send, done)


@case
async def catches_its_cancellation(scope, receive, send):
    asyncio.current_task().cancel()
    try:
        await asyncio.sleep(10)
    except asyncio.CancelledError:
        await answer(send, b"caught")


@case
async def cancels_a_child(scope, receive, send):
    child = asyncio.create_task(asyncio.sleep(100))
    asyncio.get_running_loop().call_later(0.005, child.cancel)
    try:
        await child
    except asyncio.CancelledError:
        await answer(send, b"the child was cancelled")


@case
async def a_group_that_fails(scope, receive, send):
    async def fails():
        await asyncio.sleep(0)
        raise ValueError("planted: in a group")

    try:
        async with anyio.create_task_group() as group:
            group.start_soon(receive_for_ever, receive)
            group.start_soon(fails)
    except BaseException as error:
        await answer(send, type(error.exceptions[0]).__name__.encode())


async def receive_for_ever(receive):
    while True:
        await receive()


@case
async def listens_and_streams(scope, receive, send):
    """A stream and a listener in one group: who ends first ends the other."""
    board = Board.of(scope)

    async def listen(scope):
        while (await receive())["type"] != "http.disconnect":
            pass
        board.note("heard")
        scope.cancel()

    async def stream():
        await start(send)
        while True:
            await body(send, b"x", more=True)
            board.note("sent")
            await asyncio.sleep(0.005)

    try:
        async with anyio.create_task_group() as group:
            group.start_soon(listen, group.cancel_scope)
            group.start_soon(stream)
    finally:
        board.note("closed")
