"""The site of Ada, for a workshop: edit it, and load the page again."""

from pathlib import Path

from fastapi import FastAPI, Request
from fastapi.responses import HTMLResponse
from fastapi.templating import Jinja2Templates

GREETING = "Hello from Ada"

templates = Jinja2Templates(Path(__file__).parent / "templates")
app = FastAPI()


@app.get("/")
async def greeting() -> str:
    return GREETING


@app.get("/page")
async def page(request: Request) -> HTMLResponse:
    return templates.TemplateResponse(request, "page.html", {"greeting": GREETING})
