"""An ASGI app that shows that loops still turn, and names the Python threads of the process.

Threads that apps start carry the kernel name of the thread that started them, so only `threading`
tells them from the server's own. Its dummy entries are threads that Python did not start.
"""

import json
import threading


async def app(scope, receive, send):
    assert scope["type"] == "http"
    names = [
        thread.name
        for thread in threading.enumerate()
        if not isinstance(thread, threading._DummyThread)
    ]
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": json.dumps(names).encode()})
