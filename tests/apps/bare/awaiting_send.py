"""Ways to await send(), from other threads, too."""

import asyncio
import contextlib
import threading

import anyio
import anyio.from_thread
import anyio.to_thread
from cases import Cases
from sending import body, start

case = Cases()


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
