"""Reloads of apps that use C extensions, whose modules are shared and stay (T10)."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from harness.plugin import Serve
from harness.source import RELOADED, Source, await_version, reloads

pytestmark = pytest.mark.conformance("T10")

RELOADS = 60

USE = """
import json

import greenlet
import msgspec
import numpy
import yaml
from markupsafe import escape
from multidict import CIMultiDict
from pydantic import BaseModel
from sqlalchemy import StaticPool, String, create_engine, select
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column

VERSION = {version!r}


class Part(BaseModel):
    name: str
    weights: list[float]


class Whole(BaseModel):
    parts: list[Part]


class Packed(msgspec.Struct):
    name: str
    weights: list[float]


class Row(DeclarativeBase): ...


class Entry(Row):
    __tablename__ = "entries"
    name: Mapped[str] = mapped_column(String(20), primary_key=True)


engine = create_engine(
    "sqlite://", poolclass=StaticPool, connect_args={{"check_same_thread": False}}
)
Row.metadata.create_all(engine)
TABLE = numpy.arange(10_000, dtype=float).reshape(100, 100)


class Array(numpy.ndarray):
    def __array_finalize__(self, other): ...


def used():
    whole = Whole.model_validate_json('{{"parts": [{{"name": "x", "weights": [1, 2]}}]}}')
    packed = msgspec.json.decode(msgspec.json.encode(Packed("x", [3.0])), type=Packed)
    child = greenlet.greenlet(lambda: greenlet.getcurrent().parent.switch(7))
    with Session(engine) as session:
        session.merge(Entry(name="x"))
        session.flush()
        names = [entry.name for entry in session.scalars(select(Entry))]
    return {{
        "version": VERSION,
        "numpy": float((TABLE @ TABLE.T).trace()),
        "subclass": type(TABLE.view(Array) + 1) is Array,
        "pydantic": sum(whole.parts[0].weights),
        "msgspec": packed.weights,
        "greenlet": child.switch(),
        "sqlalchemy": names,
        "others": [yaml.safe_load("a: 1"), str(escape("<")), CIMultiDict(a=1)["A"]],
    }}
"""
WSGI = (
    USE
    + """

def app(environ, start_response):
    start_response("200 OK", [])
    value = VERSION if environ["PATH_INFO"] == "/" else used()
    return [json.dumps(value).encode()]
"""
)
ASGI = (
    USE
    + """

async def app(scope, receive, send):
    import asyncio
    assert type(asyncio.get_running_loop()).__module__ == "uvloop"
    await send({{"type": "http.response.start", "status": 200, "headers": []}})
    value = VERSION if scope["path"] == "/" else used()
    await send({{"type": "http.response.body", "body": json.dumps(value).encode()}})
"""
)


@pytest.mark.timeout(180)
@pytest.mark.parametrize("template", [WSGI, ASGI], ids=["wsgi", "asgi"])
def test_apps_with_extensions_survive_sixty_reloads(
    serve: Serve, tmp_path: Path, template: str
) -> None:
    source = Source(tmp_path / "site", template)
    loop = ("loop uvloop",) if template is ASGI else ()
    server = serve(source.block(*loop, autoreload=("debounce 10ms",)))
    expected = json.loads(server.get("/used").body)
    assert (expected["greenlet"], expected["sqlalchemy"], expected["pydantic"]) == (7, ["x"], 3)
    for number in range(RELOADS):
        source.write(f"version {number}")
        await_version(server, f'"version {number}"')
        found = json.loads(server.get("/used").body)
        assert found == expected | {"version": f"version {number}"}
    assert len(reloads(server, RELOADED)) == RELOADS
