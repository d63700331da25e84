"""A tenant with FastAPI."""

from fastapi import FastAPI
from pydantic import BaseModel
from tenant import NAME


class Greeting(BaseModel):
    tenant: str
    count: int = 1


app = FastAPI()


@app.get("/")
async def hello() -> Greeting:
    return Greeting(tenant=NAME)
