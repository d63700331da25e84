"""The FastAPI site of soak.py."""

import time

import witness
from fastapi import FastAPI, Request, WebSocket, WebSocketDisconnect
from fastapi.responses import StreamingResponse
from version import VERSION

chat = FastAPI()


@chat.post("/echo")
async def echo(request: Request):
    body = await request.body()
    return StreamingResponse(body[at : at + 30_000] for at in range(0, len(body), 30_000))


@chat.post("/hang")
async def hang():
    time.sleep(3600)  # the event loop does not run meanwhile


@chat.websocket("/talk")
async def talk(websocket: WebSocket):
    await websocket.accept()
    try:
        while True:
            await websocket.send_text(await websocket.receive_text())
    except WebSocketDisconnect:
        pass


app = witness.asgi(chat, VERSION)
