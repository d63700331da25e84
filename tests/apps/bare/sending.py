"""What most ASGI apps here say: the messages of a response, in as few words as possible."""

import json


async def start(send, status=200, headers=(), **more):
    await send({"type": "http.response.start", "status": status, "headers": list(headers), **more})


async def body(send, data=b"", more=False):
    await send({"type": "http.response.body", "body": data, "more_body": more})


async def answer(send, data=b"", status=200, headers=()):
    await start(send, status, headers)
    await body(send, data)


async def answer_json(send, value):
    await answer(send, json.dumps(value).encode())


async def read(receive):
    """The whole request body, or None if it broke off."""
    data, more = b"", True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            return None
        data += message.get("body", b"")
        more = message.get("more_body", False)
    return data
