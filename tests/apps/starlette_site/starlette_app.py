"""A Starlette app: streaming responses, server-sent events, files, and a watch on disconnects."""

import asyncio
import gc
import itertools
from pathlib import Path

from starlette.applications import Starlette
from starlette.endpoints import WebSocketEndpoint
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.base import BaseHTTPMiddleware
from starlette.responses import FileResponse, JSONResponse, PlainTextResponse, StreamingResponse
from starlette.routing import Mount, Route, WebSocketRoute
from starlette.websockets import WebSocketDisconnect


async def until(path):
    while not Path(path).exists():
        await asyncio.sleep(0.005)


async def stream(request):
    async def pieces():
        yield b"first "
        await until(request.query_params["go"])
        yield b"last"

    return StreamingResponse(pieces(), media_type="text/plain")


async def events(request):
    """Sends an event, then another once it is told to, and so on, until the client leaves."""
    folder = Path(request.query_params["folder"])

    async def pieces():
        try:
            for number in itertools.count():
                yield f"id: {number}\ndata: event {number}\n\n"
                await until(folder / f"go{number}")
        finally:
            (folder / "closed").touch()

    return StreamingResponse(pieces(), media_type="text/event-stream")


async def sync_stream(request):
    """A plain generator, which Starlette runs in threads."""
    return StreamingResponse((f"{n}\n" for n in range(1000)), media_type="text/plain")


async def watches(request):
    """Polls is_disconnected(), as long-polling handlers do."""
    folder = Path(request.query_params["folder"])
    (folder / "running").touch()
    while not await request.is_disconnected():
        await asyncio.sleep(0.005)
    (folder / "closed").touch()
    return PlainTextResponse("nobody is there")


async def file(request):
    return FileResponse(request.url.query or __file__)


async def body(request):
    pieces = [len(piece) async for piece in request.stream()]
    return JSONResponse({"size": sum(pieces)})


async def where(request):
    return JSONResponse({"path": request.url.path, "root": request.scope["root_path"]})


async def talk(websocket):
    """Answers in kind, and leaves a note when the client has gone."""
    await websocket.accept(subprotocol="talk", headers=[(b"x-talk", b"yes")])
    try:
        while True:
            message = await websocket.receive_json()
            await websocket.send_json({"you said": message})
    except WebSocketDisconnect as gone:
        folder = Path(websocket.query_params["folder"])
        (folder / "gone").write_text(f"{gone.code} {gone.reason}\n")


class Bytes(WebSocketEndpoint):
    """Sends bytes back in reverse; a text is a mistake of the client, and closes with 1003."""

    encoding = "bytes"

    async def on_receive(self, websocket, data):
        await websocket.send_bytes(data[::-1])


async def refuse(websocket):
    raise HTTPException(418, "no tea here", headers={"X-Why": "teapot"})


async def where_websocket(websocket):
    await websocket.accept()
    url = str(websocket.url_for("bytes"))
    await websocket.send_json({"path": websocket.url.path, "url": url})
    await websocket.close(4000, "that is all")


class Marking(BaseHTTPMiddleware):
    """The middleware that wraps receive and send most intricately."""

    async def dispatch(self, request, call_next):
        response = await call_next(request)
        response.headers["X-Marked"] = "yes"
        return response


async def collect(request):
    """Under BaseHTTPMiddleware an abandoned generator is part of a cycle."""
    gc.collect()
    return PlainTextResponse("collected")


async def hello(request):
    return PlainTextResponse("hello")


routes = [
    Route("/hello", hello),
    Route("/collect", collect),
    Route("/stream", stream),
    Route("/events", events),
    Route("/sync_stream", sync_stream),
    Route("/watches", watches),
    Route("/file", file),
    Route("/body", body, methods=["POST"]),
    WebSocketRoute("/talk", talk),
    WebSocketRoute("/reversed", Bytes, name="bytes"),
    WebSocketRoute("/refuse", refuse),
    Mount(
        "/mounted",
        routes=[Route("/where", where, name="where"), WebSocketRoute("/socket", where_websocket)],
    ),
]

app = Starlette(routes=routes)
marked = Starlette(routes=routes, middleware=[Middleware(Marking)])
