"""What each site of soak.py does around its application: it notes that a request has begun, and
says which code and which worker answers it. Some requests take a while."""

import asyncio
import os
import time

# One write per line, so that all workers can share the file.
journal = os.open(os.environ["JOURNAL"], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)


def begin(token: str) -> None:
    os.write(journal, f"{token}\n".encode())


def wsgi(app, version: int):
    def witness(environ, start_response):
        token = environ.get("HTTP_X_TOKEN", "none")
        begin(token)
        time.sleep(float(environ.get("HTTP_X_WAIT", 0)))

        def start(status, headers, exc_info=None):
            said = [("X-Token", token), ("X-Version", str(version)), ("X-Worker", str(os.getpid()))]
            return start_response(status, [*headers, *said], exc_info)

        return app(environ, start)

    return witness


def asgi(app, version: int):
    async def witness(scope, receive, send):
        if scope["type"] == "lifespan":
            await app(scope, receive, send)
            return
        headers = dict(scope["headers"])
        token = headers.get(b"x-token", b"none")
        begin(token.decode())
        await asyncio.sleep(float(headers.get(b"x-wait", 0)))
        said = [
            (b"x-token", token),
            (b"x-version", str(version).encode()),
            (b"x-worker", str(os.getpid()).encode()),
        ]

        async def start(message):
            if message["type"] in ("http.response.start", "websocket.accept"):
                message["headers"] = [*message.get("headers", ()), *said]
            await send(message)

        await app(scope, receive, start)

    return witness
