"""A websocket app that sends every message back as it came."""


async def app(scope, receive, send):
    assert scope["type"] == "websocket"
    assert (await receive())["type"] == "websocket.connect"
    await send({"type": "websocket.accept"})
    while (message := await receive())["type"] == "websocket.receive":
        kind = "text" if message.get("text") is not None else "bytes"
        try:
            await send({"type": "websocket.send", kind: message[kind]})
        except OSError:
            return  # The client has left while its messages were still coming.
