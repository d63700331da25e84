"""ASGI apps whose values, tasks and loops do what servers don't expect. None harms any other."""

import asyncio
import ctypes
import gc
import os
import threading

from board import Board
from cases import Cases
from sending import answer, answer_json, body, read, start

case = Cases()
app = case.asgi


@case
async def hello(scope, receive, send):
    await answer(send, b"hello")


def error_of(function, *args):
    """What the call raises, as text, or None."""
    try:
        function(*args)
    except BaseException as error:
        return f"{type(error).__name__}: {error}"
    return None


# Messages that send others while they are read. send() acts when it is called.


def answers(send):
    send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"6")]})
    send({"type": "http.response.body", "body": b"inside"})


class Key(str):
    """A key that is found in place of another, and calls a function when it is compared."""

    __slots__ = ("function",)

    def __new__(cls, text, function):
        self = super().__new__(cls, text)
        self.function = function
        return self

    def __hash__(self):
        return str.__hash__(self)

    def __eq__(self, other):
        self.function()
        return str.__eq__(self, other)


class Flag:
    def __init__(self, function):
        self.function = function

    def __bool__(self):
        self.function()
        return False


@case
async def headers_that_answer(scope, receive, send):
    def headers():
        answers(send)
        for number in range(2000):
            yield b"x-evil-%d" % number, b"v" * 200

    await start(send, 201, Iterator(headers()))


class Iterator:
    """`list()` in `sending.start` would read it too early."""

    def __init__(self, items):
        self.items = items

    def __iter__(self):
        return self.items


@case
async def headers_that_begin(scope, receive, send):
    def headers():
        send({"type": "http.response.start", "status": 200, "headers": [(b"x-inner", b"yes")]})
        yield b"x-outer", b"yes"

    await send({"type": "http.response.start", "status": 201, "headers": headers()})


@case
async def a_pair_that_answers(scope, receive, send):
    def pair():
        answers(send)
        yield from (b"x-evil", b"yes")

    await send({"type": "http.response.start", "status": 201, "headers": [pair()]})


@case
async def a_key_that_answers(scope, receive, send):
    message = {"type": "http.response.start", Key("status", lambda: answers(send)): 201}
    await send(message)


@case
async def a_type_that_answers(scope, receive, send):
    await send({Key("type", lambda: answers(send)): "http.response.start", "status": 201})


@case
async def a_flag_that_answers(scope, receive, send):
    await start(send, 201, [(b"x-evil", b"yes")], trailers=Flag(lambda: answers(send)))


@case
async def a_body_that_goes_on(scope, receive, send):
    """more_body of a piece sends the piece after it."""
    await start(send, 200, [(b"content-length", b"12")])

    def goes_on():
        send({"type": "http.response.body", "body": b"inside", "more_body": True})

    await send({"type": "http.response.body", "body": b"before", "more_body": Flag(goes_on)})


@case
async def a_body_that_ends(scope, receive, send):
    await start(send, 200, [(b"content-length", b"6")])

    def ends():
        send({"type": "http.response.body", "body": b"inside"})

    await send({"type": "http.response.body", "body": b"x" * 70000, "more_body": Flag(ends)})


@case
async def a_message_that_empties_itself(scope, receive, send):
    message = {"type": "http.response.start", "status": 10**9}

    def empties():
        message.clear()
        gc.collect()

    message[Key("headers", empties)] = [(b"x-a", b"v" * 500)]
    message["trailers"] = Flag(empties)
    await send(message)


@case
async def a_path_that_answers(scope, receive, send):
    await start(send, 200, [(b"content-length", b"6")])

    def ends():
        send({"type": "http.response.body", "body": b"inside"})

    await send({"type": "http.response.pathsend", Key("path", ends): __file__})


@case
async def links_that_answer(scope, receive, send):
    def links():
        answers(send)
        yield b"</a.css>; rel=preload"

    await send({"type": "http.response.early_hint", "links": links()})


@case
async def trailers_that_end(scope, receive, send):
    await start(send, 200, trailers=True)
    await body(send, b"inside")

    def trailers():
        send({"type": "http.response.trailers", "headers": [(b"x-inner", b"yes")]})
        yield b"x-evil", b"yes"

    await send({"type": "http.response.trailers", "headers": trailers()})


@case
async def trailers_that_change(scope, receive, send):
    """After they were checked."""
    await start(send, 200, trailers=True)
    await body(send, b"inside")
    pair = [b"x-good", b"yes"]
    await send({"type": "http.response.trailers", "headers": [pair], "more_trailers": True})
    pair[:] = [b"x-evil\r\n", 1]
    await send({"type": "http.response.trailers", "headers": []})


# The coroutine of the request


def own():
    return asyncio.current_task().get_coro()


@case
async def closes_itself(scope, receive, send):
    coroutine = own()
    errors = [
        error_of(coroutine.close),
        error_of(coroutine.throw, ValueError("planted")),
        error_of(coroutine.send, None),
        error_of(next, iter(coroutine)),
    ]
    await answer_json(send, [errors, coroutine.cr_running])


async def waits(scope, receive, send):
    """Until it is let go."""
    Board.of(scope).note("waits")
    tasks[scope["path"]] = asyncio.current_task()
    await asyncio.get_running_loop().create_future()


tasks = {}
case["/waits"] = case["/waits_too"] = waits


@case
async def waits_and_goes_on(scope, receive, send):
    Board.of(scope).note("waits")
    tasks[scope["path"]] = asyncio.current_task()
    try:
        await asyncio.get_running_loop().create_future()
    except ValueError:
        await answer(send, b"went on")


async def another(scope, path="/waits"):
    """The coroutine of a request that waits, and what ends its task."""
    await Board.of(scope).until("waits")
    await asyncio.sleep(0)
    task = tasks.pop(path)

    async def end():
        task.cancel()
        await asyncio.wait([task])
        if not task.cancelled():
            task.exception()

    return task.get_coro(), end


@case
async def closes_another(scope, receive, send):
    coroutine, end = await another(scope)
    coroutine.close()
    errors = [
        error_of(coroutine.close),
        error_of(coroutine.throw, ValueError("planted")),
        error_of(coroutine.send, None),
        coroutine.cr_running,
        coroutine.cr_frame,
    ]
    await end()
    await answer_json(send, errors)


@case
async def throws_into_another(scope, receive, send):
    coroutine, end = await another(scope)
    error = error_of(coroutine.throw, ValueError("planted"))
    await end()
    await answer_json(send, error)


@case
async def throws_nonsense_into_another(scope, receive, send):
    coroutine, end = await another(scope)
    errors = [error_of(coroutine.throw, what) for what in (1, "text", object, None)]
    await end()
    await answer_json(send, [error.partition(":")[0] for error in errors])


@case
async def throws_what_is_caught(scope, receive, send):
    coroutine, end = await another(scope, "/waits_and_goes_on")
    error = error_of(coroutine.throw, ValueError("planted"))
    await end()
    await answer_json(send, error)


@case
async def cancels_all(scope, receive, send):
    for task in asyncio.all_tasks():
        task.cancel()
    await asyncio.sleep(0)


# What receive() and send() return


@case
async def awaits_once_more(scope, receive, send):
    received, closed, thrown, sent = receive(), receive(), receive(), start(send)
    await sent
    await received
    closed.close()
    errors = [error_of(thrown.throw, ValueError("planted"))]
    for awaitable in (received, closed, thrown):
        errors += [error_of(awaitable.send, None), error_of(awaitable.throw, ValueError("late"))]
        awaitable.close()
    await body(send, repr(errors).encode())


@case
async def many_wait_and_are_cancelled(scope, receive, send):
    """Each that is woken cancels the others: the list of them changes while it is gone through."""
    received = await read(receive)
    waiting = [asyncio.ensure_future(receive()) for _ in range(100)]
    await asyncio.sleep(0)
    for task in waiting[::2]:
        task.add_done_callback(lambda _: [other.cancel() for other in waiting])
    waiting[50].cancel()
    await asyncio.wait(waiting)
    await answer(send, received)


# Threads and the collector


@case
async def sends_from_many_threads(scope, receive, send):
    await start(send, 200, [(b"content-length", b"%d" % (8 * 100 * 1000))])

    def sends():
        for _ in range(100):
            send({"type": "http.response.body", "body": b"x" * 1000, "more_body": True})

    threads = [threading.Thread(target=sends) for _ in range(8)]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        await asyncio.sleep(0.001)
    await body(send)


class Cycle:
    """Garbage that calls back when it is collected."""

    def __init__(self, function):
        self.function = function
        self.me = self

    def __del__(self):
        error_of(self.function)


@case
async def collected_all_the_time(scope, receive, send):
    threshold = gc.get_threshold()
    gc.set_threshold(1)
    loop = asyncio.get_running_loop()
    try:
        for number in range(50):
            Cycle(lambda: loop._core.drain() if hasattr(loop, "_core") else None)
            Cycle(lambda: error_of(receive().send, None))
            Cycle(lambda: answers(send))
            asyncio.ensure_future(receive()).cancel()
            if number == 25:
                await start(send)
        await asyncio.sleep(0)
        await answer(send, b"outside")
    finally:
        gc.set_threshold(*threshold)


# The loop


@case
async def waits_for_a_note(scope, receive, send):
    Board.of(scope).note("waits")
    await Board.of(scope).until("go")
    await answer(send, b"went on")


@case
async def stops_the_loop(scope, receive, send):
    asyncio.get_running_loop().stop()
    await asyncio.sleep(0.01)
    await answer(send, b"hello")


@case
async def stops_the_loop_in_a_task(scope, receive, send):
    asyncio.get_running_loop().call_later(0.01, asyncio.get_running_loop().stop)
    await answer(send, b"hello")


@case
async def closes_the_loop(scope, receive, send):
    asyncio.get_running_loop().close()


@case
async def closes_the_stopped_loop(scope, receive, send):
    """From another thread, between two runs of it."""
    loop, board = asyncio.get_running_loop(), Board.of(scope)

    def closes():
        for _ in range(100):
            loop.call_soon_threadsafe(loop.stop)
            for _ in range(1000):
                if error := error_of(loop.close):
                    break
        board.note("error", error)

    threading.Thread(target=closes).start()
    await answer(send, b"hello")


@case
async def runs_the_loop(scope, receive, send):
    coroutine = asyncio.sleep(0)
    try:
        asyncio.get_running_loop().run_until_complete(coroutine)
    finally:
        coroutine.close()


@case
async def closes_the_selector(scope, receive, send):
    loop = asyncio.get_running_loop()
    ours, theirs = os.pipe()
    loop.add_reader(ours, lambda: None)
    loop._selector.close()
    loop.remove_reader(ours)
    os.close(ours)
    os.close(theirs)
    await answer(send, b"hello")


@case
async def closes_the_selectors_file(scope, receive, send):
    loop = asyncio.get_running_loop()
    ours, theirs = os.pipe()
    loop.add_reader(ours, lambda: None)
    ctypes.CDLL(None).close(loop._selector._files.fileno())  # os.close() would refuse
    os.close(ours)
    os.close(theirs)
    await answer(send, b"hello")


# A client that breaks its body, or leaves


@case
async def reads_and_returns(scope, receive, send):
    while (await receive())["type"] != "http.disconnect":
        pass


@case
async def reads_and_raises(scope, receive, send):
    while (await receive())["type"] != "http.disconnect":
        pass
    raise OSError("planted: the client left")


@case
async def reads_and_answers(scope, receive, send):
    await answer(send, repr(await read(receive)).encode(), 422)


@case
async def begins_and_returns(scope, receive, send):
    await start(send)
    while (await receive())["type"] != "http.disconnect":
        pass


@case
async def ends_with_an_empty_body(scope, receive, send):
    board = Board.of(scope)
    await start(send, 200, [(b"content-length", b"5")])
    await body(send, b"hello", more=True)
    while (await receive())["type"] != "http.disconnect":
        pass
    try:
        await body(send)
        board.note("sent", "nothing raised")
    except BaseException as error:
        board.note("sent", type(error).__name__)
