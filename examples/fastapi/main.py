"""An API with validation, an upload, and a startup that makes the stock."""

import hashlib
from contextlib import asynccontextmanager
from typing import Annotated

from fastapi import FastAPI, HTTPException, Request, UploadFile
from pydantic import BaseModel, Field


class Item(BaseModel):
    name: str
    price: Annotated[float, Field(gt=0)]


class Stored(Item):
    id: int


@asynccontextmanager
async def lifespan(app: FastAPI):
    app.state.items = {1: Stored(id=1, name="coffee", price=3.2)}
    yield
    app.state.items.clear()


app = FastAPI(title="Stock", lifespan=lifespan)


@app.get("/items")
async def items(request: Request) -> list[Stored]:
    return list(request.app.state.items.values())


@app.get("/items/{number}")
async def item(number: int, request: Request) -> Stored:
    try:
        return request.app.state.items[number]
    except KeyError:
        raise HTTPException(404, "no such item") from None


@app.post("/items", status_code=201)
async def add(item: Item, request: Request) -> Stored:
    items = request.app.state.items
    stored = Stored(id=max(items) + 1, **item.model_dump())
    items[stored.id] = stored
    return stored


@app.post("/upload")
async def upload(file: UploadFile) -> dict[str, str | int]:
    digest, size = hashlib.sha256(), 0
    while piece := await file.read(65536):
        digest.update(piece)
        size += len(piece)
    return {"name": file.filename or "", "size": size, "sha256": digest.hexdigest()}
