"""An app that leaves traces wherever a FastAPI app can: caches, loggers, filters, atexit."""

import atexit
import contextlib
import functools
import gc
import logging
import os
import typing
import warnings
from types import ModuleType

from fastapi import Depends, FastAPI
from pydantic import BaseModel


class Item(BaseModel):
    name: str
    parts: list["Item"] = []


class Handler(logging.Handler):
    def emit(self, record): ...


class OwnWarning(UserWarning): ...


@functools.lru_cache
def settings():
    return {"ballast": bytes(200_000)}


@contextlib.asynccontextmanager
async def lifespan(app):
    yield


logging.getLogger("released").addHandler(Handler())
warnings.simplefilter("ignore", OwnWarning)
atexit.register(lambda: print(f"atexit of {os.environ['NUMBER']}"))
KINDS = typing.Optional[Item], typing.Dict[str, Item]  # noqa: UP006, UP045 (cached by typing)
BALLAST = bytes(200_000)

app = FastAPI(lifespan=lifespan)


@app.post("/items")
def items(item: Item, found: dict = Depends(settings)) -> Item:  # noqa: B008
    return item


@app.get("/alive")
def alive() -> int:
    """How many modules of this file there are in the process, by their constants."""
    return sum(
        isinstance(item, ModuleType) and item.__dict__.get("__file__") == __file__
        for item in gc.get_objects()
    )
