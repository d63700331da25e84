"""Apps that log, in the request's thread and in others, and that say which ids they have got."""

import asyncio
import contextvars
import json
import logging
import threading

logger = logging.getLogger("planted")


def wsgi(environ, start_response):
    logger.warning("planted: called")
    if environ["PATH_INFO"] == "/fails":
        raise RuntimeError("planted: failed")
    thread = threading.Thread(target=contextvars.copy_context().run, args=[log_in_thread])
    thread.start()
    thread.join()
    start_response("200 OK", [("Content-Type", "application/json")])
    return [json.dumps(environ.get("HTTP_X_REQUEST_ID")).encode()]


def log_in_thread():
    logger.warning("planted: in a thread")


async def log_in_task():
    logger.warning("planted: in a task")


async def asgi(scope, receive, send):
    if scope["type"] == "lifespan":
        logger.warning("planted: starting")
        raise NotImplementedError
    logger.warning("planted: called")
    if scope["path"] == "/fails":
        raise RuntimeError("planted: failed")
    await asyncio.create_task(log_in_task())
    await asyncio.to_thread(log_in_thread)
    headers = dict(scope["headers"])
    body = json.dumps(headers.get(b"x-request-id", b"").decode() or None).encode()
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": body})
