"""An ASGI app with a context variable that its lifespan and its requests set."""

import asyncio
import contextvars

from sending import answer_json

variable = contextvars.ContextVar("variable", default="unset")


async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        await receive()
        variable.set("lifespan")
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await send({"type": "lifespan.shutdown.complete"})
        return
    seen = [variable.get()]
    variable.set(scope["path"])
    seen += [variable.get(), await asyncio.create_task(get())]
    await answer_json(send, seen)


async def get():
    return variable.get()
