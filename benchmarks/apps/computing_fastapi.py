"""A FastAPI endpoint that computes for about a millisecond, to measure what more workers gain."""

from fastapi import FastAPI
from fastapi.responses import PlainTextResponse

app = FastAPI()


@app.get("/", response_class=PlainTextResponse)
async def hello():
    sum(number * number for number in range(20_000))
    return PlainTextResponse("Hello, World!")
