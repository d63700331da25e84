"""FastAPI, pydantic and numpy: models and dependencies of the same names in every tenant."""

import pickle
from typing import Annotated, Generic, TypeVar

import numpy as np
from fastapi import Depends, FastAPI
from fastapi.concurrency import run_in_threadpool
from name import NAME
from pydantic import BaseModel, Field

T = TypeVar("T")


class Item(BaseModel):
    owner: str = NAME
    values: list[float]
    inner: "Item | None" = None


class Page(BaseModel, Generic[T]):
    items: list[T]


def tenant() -> str:
    return NAME


def lazy() -> str:
    from lazy import NAME as found

    return found


app = FastAPI(title=NAME)


@app.post("/items")
async def items(
    item: Item,
    who: Annotated[str, Depends(tenant)],
    late: Annotated[str, Depends(lazy)],
    factor: Annotated[int, Field(ge=1)] = 2,
) -> Page[Item]:
    again = pickle.loads(pickle.dumps(item))
    assert type(again) is Item and again == item
    assert late == await run_in_threadpool(lazy) == who == NAME
    values = (np.array(item.values) * factor).tolist()
    return Page[Item](items=[Item(values=values, inner=item)])
