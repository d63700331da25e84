"""Takes or sends as many bytes as the client likes: GET /<bytes>, POST."""

PART = bytes(64 << 10)


async def app(scope, receive, send):
    if scope["type"] != "http":
        raise NotImplementedError(scope["type"])  # ASGI: the app does not support lifespan
    if scope["method"] == "POST":
        count, more = 0, True
        while more:
            message = await receive()
            count += len(message.get("body", b""))
            more = message.get("more_body", False)
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": str(count).encode()})
        return
    count = int(scope["path"][1:] or 0)
    headers = [(b"content-length", str(count).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    for _ in range(count // len(PART)):
        await send({"type": "http.response.body", "body": PART, "more_body": True})
    await send({"type": "http.response.body", "body": b""})
