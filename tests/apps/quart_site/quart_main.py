"""A Quart site: JSON, an upload, a stream, a websocket, startup and shutdown."""

from quart import Quart, request, websocket

app = Quart(__name__)
started = []


@app.before_serving
async def start():
    started.append("started")


@app.get("/hello")
async def hello():
    return {"started": started}


@app.post("/length")
async def length():
    size = 0
    async for chunk in request.body:
        size += len(chunk)
    return str(size)


@app.get("/stream")
async def stream():
    async def pieces():
        for number in range(3):
            yield f"{number}\n"

    return pieces()


@app.websocket("/echo")
async def echo():
    while True:
        await websocket.send("quart " + await websocket.receive())
