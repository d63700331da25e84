"""The task that an app runs in, and what asyncio and anyio do with it."""

import asyncio

import anyio
import anyio.to_thread
import sniffio
from board import Board
from cases import Cases
from sending import answer, answer_json, body, start

case = Cases()


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
