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


@app.websocket("/members")
async def members():
    """Answers without accepting where the secret is wrong."""
    if websocket.args.get("secret") != "mellon":
        return "speak, friend", 401, {"X-Door": "shut"}
    await websocket.accept(headers={"X-Door": "open"}, subprotocol="elvish")
    await websocket.send_json({"asked": websocket.requested_subprotocols})
    await websocket.close(4003, "enter")


@app.websocket("/boom")
async def boom():
    await websocket.receive()
    raise ValueError("planted: in quart")
