"""What an app does with its event loop besides answering requests."""

import asyncio
import os
import signal
import sys


async def timers():
    """Timers fire; those of asyncio in the order of their times, and not before them."""
    loop = asyncio.get_running_loop()
    fired, early = [], []
    exact = "uvloop" not in type(loop).__module__  # its clock stands still in a round

    def note(when):
        fired.append(when)
        if loop.time() < when - 1e-6:
            early.append(when)

    times = [loop.time() + delay for delay in (0.03, 0.0, 0.0101, 0.02, 0.005)]
    for when in times:
        loop.call_at(when, note, when)
    while len(fired) < len(times):
        await asyncio.sleep(0.001)
    return not exact or (fired == sorted(times) and not early)


async def echo(lines=200):
    """Both ends of a connection on this loop."""

    async def serve(reader, writer):
        while line := await reader.readline():
            writer.write(line)
            await writer.drain()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
    for number in range(lines):
        writer.write(b"%d\n" % number)
        if await reader.readline() != b"%d\n" % number:
            return False
    writer.close()
    await writer.wait_closed()
    server.close()
    await server.wait_closed()
    return True


async def process():
    child = await asyncio.create_subprocess_exec(
        sys.executable, "-c", "print(6 * 7)", stdout=asyncio.subprocess.PIPE
    )
    output, _ = await child.communicate()
    return (child.returncode, output) == (0, b"42\n")


async def threads():
    """Results of threads wake a loop that sleeps."""
    results = []
    for number in range(20):
        results.append(await asyncio.to_thread(pow, number, 2))
    return results == [number**2 for number in range(20)]


async def reader():
    """A pipe that is watched, then no more, then again."""
    loop = asyncio.get_running_loop()
    source, sink = os.pipe()
    seen = []
    for word in (b"once", b"again"):
        done = loop.create_future()

        def readable(done=done):
            seen.append(os.read(source, 100))
            done.set_result(None)

        loop.add_reader(source, readable)
        loop.call_later(0.01, os.write, sink, word)
        await done
        loop.remove_reader(source)
    os.close(source)
    os.close(sink)
    return seen == [b"once", b"again"]


async def busy():
    """A loop that never sleeps goes on starting requests and seeing files and timers."""
    loop = asyncio.get_running_loop()
    stop = loop.create_future()

    def spin():
        if not stop.done():
            loop.call_soon(spin)

    spin()
    answers = [await timers(), await echo(20), await threads()]
    stop.set_result(None)
    return all(answers)


async def signals():
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGUSR1, print)
    return not loop.remove_signal_handler(signal.SIGUSR1)


DEEDS = {deed.__name__: deed for deed in (timers, echo, process, threads, reader, busy, signals)}


async def app(scope, receive, send):
    deed = DEEDS.get(scope["path"].strip("/"))
    answer = "ok" if deed is None or await asyncio.wait_for(deed(), 20) else "not so"
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": answer.encode()})
