"""An API on FastAPI: at /api/, and its documentation at /api/docs."""

from fastapi import FastAPI

app = FastAPI(title="Weather")


@app.get("/weather/{city}")
async def weather(city: str) -> dict[str, str | int]:
    return {"city": city, "degrees": 8 + len(city)}
