"""Shows what an ASGI app gets to see of a request; leaves lifespan events alone."""

import json


def shown(value):
    """JSON for a scope: bytes become {"bytes": latin-1 text}, other types stay visible."""
    if isinstance(value, bytes):
        return {"bytes": value.decode("latin-1")}
    if isinstance(value, dict):
        return {str(key): shown(entry) for key, entry in value.items()}
    if isinstance(value, (list, tuple)):
        return [shown(entry) for entry in value]
    if value is None or isinstance(value, (str, int, float, bool)):
        return value
    return repr(value)


async def show_scope(scope, receive, send):
    assert scope["type"] == "http"
    parts = [scope, scope["asgi"], scope["extensions"], *scope["extensions"].values()]
    marked = any("test.mark" in part for part in parts)
    body = json.dumps({"type": type(scope).__name__, "marked": marked, "scope": shown(scope)})
    for part in parts:  # the next request must not see this
        part["test.mark"] = "here"
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": body.encode()})
