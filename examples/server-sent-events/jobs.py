"""Jobs that run in the background, and their progress as server-sent events."""

import asyncio
from collections.abc import AsyncIterator

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

STEPS = ["fetch", "unpack", "convert", "store"]


class Job:
    """It notes its finished steps, and wakes those who wait for the next one."""

    def __init__(self) -> None:
        self.finished: list[str] = []
        self.news = asyncio.Condition()
        self.task = asyncio.create_task(self.run())

    async def run(self) -> None:
        for step in STEPS:
            await asyncio.sleep(0.5)  # The work.
            async with self.news:
                self.finished.append(step)
                self.news.notify_all()

    async def events(self, seen: int) -> AsyncIterator[str]:
        """The steps after the first `seen`, each when it is finished."""
        while seen < len(STEPS):
            async with self.news:
                while len(self.finished) <= seen:
                    await self.news.wait()
            for step in self.finished[seen:]:
                seen += 1
                yield f"id: {seen}\ndata: {step} ({seen}/{len(STEPS)})\n\n"
        yield "event: done\ndata:\n\n"


jobs: dict[int, Job] = {}


async def start(request: Request) -> Response:
    number = len(jobs) + 1
    jobs[number] = Job()
    path = request.url_for("events", number=number).path
    return JSONResponse({"events": path}, 202)


async def events(request: Request) -> Response:
    job = jobs.get(request.path_params["number"])
    if job is None:
        raise HTTPException(404)
    # A browser that connects again says what it has seen.
    last = request.headers.get("Last-Event-ID", "")
    seen = int(last) if last.isdecimal() else 0
    headers = {"Cache-Control": "no-store"}
    return StreamingResponse(job.events(seen), media_type="text/event-stream", headers=headers)


app = Starlette(
    routes=[
        Route("/jobs", start, methods=["POST"]),
        Route("/jobs/{number:int}/events", events, name="events"),
    ]
)
