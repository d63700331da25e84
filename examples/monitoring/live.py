"""The shop's stock, asynchronously, in two processes."""

import asyncio
import os

from fastapi import FastAPI
from prometheus_client import Counter

app = FastAPI()
LOOKS = Counter("stock_looks", "How often somebody has looked at the stock.")


@app.get("/stock")
async def stock():
    LOOKS.inc()
    await asyncio.sleep(0.01)
    return {"books": 3, "worker": os.getpid()}
