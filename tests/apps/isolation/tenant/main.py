"""The same app for several tenants: each check in `*_checks.py` says whose module it has found."""

import asyncio
import inspect
import json
from collections import ChainMap

import environment_checks
import identity
import import_checks
import object_checks
import path_checks
import thread_checks

CHECKS = ChainMap(
    vars(environment_checks),
    vars(import_checks),
    vars(object_checks),
    vars(path_checks),
    vars(thread_checks),
)


def _result(name, query):
    found = CHECKS[name]
    return found(query) if query else found()


def wsgi(environ, start_response):
    name = environ["PATH_INFO"].lstrip("/")
    result = _result(name, environ["QUERY_STRING"])
    if inspect.isawaitable(result):

        async def run():
            return await result

        result = asyncio.run(run())
    start_response("200 OK", [("X-Tenant", identity.NAME)])
    return [json.dumps(result).encode()]


async def asgi(scope, receive, send):
    if scope["type"] != "http":
        raise RuntimeError("http only")
    result = _result(scope["path"].lstrip("/"), scope["query_string"].decode())
    if inspect.isawaitable(result):
        result = await result
    headers = [(b"x-tenant", identity.NAME.encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": json.dumps(result).encode()})
