"""A chat room: each member's websocket gets what any member says."""

import asyncio
from collections import deque

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocket, WebSocketDisconnect


class Member:
    """A websocket, and what is still to be sent on it, so that a slow member delays nobody."""

    def __init__(self, name: str, websocket: WebSocket) -> None:
        self.name = name
        self.websocket = websocket
        self.outbox: asyncio.Queue[dict] = asyncio.Queue(maxsize=200)

    async def deliver(self) -> None:
        try:
            while True:
                await self.websocket.send_json(await self.outbox.get())
        except (WebSocketDisconnect, OSError):
            pass  # The other side of the connection notices it as well.


class Room:
    def __init__(self) -> None:
        self.members: set[Member] = set()
        self.history: deque[dict] = deque(maxlen=50)

    def names(self) -> list[str]:
        return sorted({member.name for member in self.members})

    def enter(self, member: Member) -> None:
        for message in self.history:
            member.outbox.put_nowait(message)
        self.members.add(member)
        self.tell({"online": self.names()})

    def leave(self, member: Member) -> None:
        self.members.discard(member)
        self.tell({"online": self.names()})

    def say(self, member: Member, text: str) -> None:
        message = {"from": member.name, "text": text}
        self.history.append(message)
        self.tell(message)

    def tell(self, message: dict) -> None:
        for member in self.members:
            if not member.outbox.full():  # One who is so far behind misses it.
                member.outbox.put_nowait(message)


room = Room()


async def chat(websocket: WebSocket) -> None:
    name = websocket.query_params.get("name", "").strip()[:30]
    if not name:
        await websocket.close()  # Before `accept`, so the answer is 403.
        return
    await websocket.accept()
    member = Member(name, websocket)
    room.enter(member)
    delivery = asyncio.create_task(member.deliver())
    try:
        async for text in websocket.iter_text():
            if text.strip():
                room.say(member, text.strip())
    finally:
        delivery.cancel()
        room.leave(member)


async def online(request: Request) -> JSONResponse:
    return JSONResponse(room.names())


app = Starlette(routes=[WebSocketRoute("/chat/", chat), Route("/chat/online", online)])
