"""Ways to wait a little for a message: the message, or None if it did not come."""

import asyncio

import anyio
from board import Board
from cases import Cases
from sending import body, start

case = Cases()


async def by_wait_for(receive):
    try:
        return await asyncio.wait_for(receive(), 0.002)
    except asyncio.TimeoutError:
        return None


async def by_wait_for_a_task(receive):
    task = asyncio.create_task(receive())
    try:
        return await asyncio.wait_for(task, 0.002)
    except asyncio.TimeoutError:
        # From Python 3.12 on, wait_for() also ends with this if the task has just ended.
        return None if task.cancelled() else task.result()


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
