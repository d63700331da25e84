"""ASGI apps with all sorts of lifespans. LIFESPAN_NOTES names the file for their notes."""

import os
import threading


def note(line):
    with open(os.environ["LIFESPAN_NOTES"], "a") as file:
        file.write(f"{line}\n")


async def answer(scope, send):
    note("request")
    body = repr(scope.get("state", {}).get("greeting")).encode()
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": body})


async def supporting(scope, receive, send):
    if scope["type"] == "http":
        return await answer(scope, send)
    assert (await receive())["type"] == "lifespan.startup"
    scope["state"]["greeting"] = "hello"
    note("startup")
    await send({"type": "lifespan.startup.complete"})
    assert (await receive())["type"] == "lifespan.shutdown"
    note("shutdown")
    await send({"type": "lifespan.shutdown.complete"})


async def ignorant(scope, receive, send):
    """Knows nothing of lifespans and says so with an exception, as the specification wants."""
    if scope["type"] != "http":
        raise ValueError(f"planted: unknown scope {scope['type']}")
    await answer(scope, send)


async def silent(scope, receive, send):
    """Returns from the lifespan at once, without a word."""
    if scope["type"] == "http":
        await answer(scope, send)


async def failing(scope, receive, send):
    if scope["type"] == "http":
        return await answer(scope, send)
    await receive()
    await send({"type": "lifespan.startup.failed", "message": "planted: no database"})


async def failing_in_between(scope, receive, send):
    if scope["type"] == "http":
        return await answer(scope, send)
    await receive()
    await send({"type": "lifespan.startup.complete"})
    raise RuntimeError("planted: the background job ended")


async def failing_after_the_end(scope, receive, send):
    if scope["type"] == "http":
        return await answer(scope, send)
    for _ in range(2):
        message = await receive()
        await send({"type": f"{message['type']}.complete"})
    raise RuntimeError("planted: after all")


async def failing_at_the_end(scope, receive, send):
    if scope["type"] == "http":
        return await answer(scope, send)
    await receive()
    await send({"type": "lifespan.startup.complete"})
    await receive()
    note("shutdown")
    await send({"type": "lifespan.shutdown.failed", "message": "planted: could not close"})


threads = set()


async def on_one_thread(scope, receive, send):
    """Fails unless lifespan and requests share a thread."""
    threads.add(threading.get_ident())
    assert len(threads) == 1
    await supporting(scope, receive, send)
