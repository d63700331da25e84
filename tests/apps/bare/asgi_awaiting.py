"""ASGI apps that await receive() and send() in every way asyncio and anyio know.

Most answer with a JSON list of what happened, for the test to compare.
"""

import asyncio

import awaiting_polls
import awaiting_receive
import awaiting_send
import awaiting_tasks
from cases import Cases
from sending import answer, answer_json

case = Cases(awaiting_polls.case | awaiting_receive.case | awaiting_send.case | awaiting_tasks.case)


async def app(scope, receive, send):
    assert scope["type"] == "http"
    await case[scope["path"]](scope, receive, send)


@case
async def hello(scope, receive, send):
    await answer(send, b"hello")


@case
async def tasks(scope, receive, send):
    """How many other tasks the loop of this app has."""
    await answer_json(send, len(asyncio.all_tasks()) - 1)
