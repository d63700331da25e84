"""A FastAPI app: a pydantic body, an upload, sync and async endpoints, a lifespan with state."""

import hashlib
from contextlib import asynccontextmanager
from typing import Annotated

from fastapi import (
    BackgroundTasks,
    Depends,
    FastAPI,
    HTTPException,
    Query,
    Request,
    UploadFile,
    WebSocket,
    WebSocketDisconnect,
    WebSocketException,
)
from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field


@asynccontextmanager
async def lifespan(app):
    yield {"greeting": "hello"}


app = FastAPI(lifespan=lifespan)


class Item(BaseModel):
    name: str
    price: float = Field(gt=0)
    tags: list[str] = []


@app.get("/")
async def index(request: Request):
    return {"greeting": request.state.greeting}


@app.post("/items", status_code=201)
async def create(item: Item) -> Item:
    return item


@app.get("/sync/{number}")
def in_a_thread(number: int):
    return {"number": number}


def page(start: int = 0):
    return start


@app.get("/dependency")
async def dependency(start: Annotated[int, Depends(page)]):
    return {"start": start}


@app.post("/upload")
async def upload(file: UploadFile):
    sha, size = hashlib.sha256(), 0
    while piece := await file.read(1 << 20):
        sha.update(piece)
        size += len(piece)
    return {"name": file.filename, "size": size, "sha256": sha.hexdigest()}


@app.get("/missing")
async def missing():
    raise HTTPException(404, "not here")


@app.get("/boom")
async def boom():
    raise ValueError("planted: in an endpoint")


class Known(Exception):
    """An error the app has a handler for."""


@app.exception_handler(Known)
async def handle_known(request, error):
    return JSONResponse({"handled": True}, status_code=409)


@app.get("/known")
async def known():
    raise Known


@app.get("/background")
async def background(note: str, tasks: BackgroundTasks):
    tasks.add_task(leave, note)
    return {"later": True}


def leave(note):
    with open(note, "w") as file:
        file.write("done\n")


# Websockets

chatters: set[WebSocket] = set()


async def named(name: Annotated[str | None, Query(max_length=20)] = None) -> str:
    if name is None:
        raise WebSocketException(1008, "who are you?")
    return name


async def tell_all(text):
    for chatter in list(chatters):
        await chatter.send_text(text)


@app.websocket("/chat")
async def chat(websocket: WebSocket, name: Annotated[str, Depends(named)]):
    await websocket.accept()
    await websocket.send_text(websocket.state.greeting)
    chatters.add(websocket)
    await tell_all(f"{name} came")
    try:
        async for text in websocket.iter_text():
            await tell_all(f"{name}: {text}")
    finally:
        chatters.remove(websocket)
        await tell_all(f"{name} left")


@app.websocket("/sums")
async def sums(websocket: WebSocket):
    """Ends by an exception where a message is no number."""
    await websocket.accept()
    total = 0
    try:
        while True:
            total += int(await websocket.receive_text())
            await websocket.send_json({"total": total})
    except WebSocketDisconnect:
        pass
