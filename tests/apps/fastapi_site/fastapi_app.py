"""A FastAPI app: a pydantic body, an upload, sync and async endpoints, a lifespan with state."""

import hashlib
from contextlib import asynccontextmanager
from typing import Annotated

from fastapi import BackgroundTasks, Depends, FastAPI, HTTPException, Request, UploadFile
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
