"""The shop's stock, asynchronously, in two processes."""

import asyncio
import os

from fastapi import FastAPI

app = FastAPI()


@app.get("/stock")
async def stock():
    await asyncio.sleep(0.01)
    return {"books": 3, "worker": os.getpid()}
