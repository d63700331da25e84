"""A Litestar site: JSON, a dependency, server-sent events, a websocket."""

from litestar import Litestar, WebSocket, get, post, websocket
from litestar.di import Provide
from litestar.response import ServerSentEvent


async def greeting() -> str:
    return "hello"


@get("/hello", dependencies={"word": Provide(greeting)})
async def hello(word: str) -> str:
    return word


@get("/items/{number:int}")
async def item(number: int) -> dict[str, int]:
    return {"number": number}


@post("/sum")
async def total(data: list[int]) -> int:
    return sum(data)


@get("/events")
async def events() -> ServerSentEvent:
    async def numbers():
        for number in range(3):
            yield {"data": str(number)}

    return ServerSentEvent(numbers())


@websocket("/echo")
async def echo(socket: WebSocket) -> None:
    await socket.accept()
    await socket.send_text("litestar " + await socket.receive_text())
    await socket.close(4001, "done")


app = Litestar([hello, item, total, events, echo], openapi_config=None)
