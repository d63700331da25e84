import falcon.asgi
from board import Board
from common import Tracker, busy, poll


class Hello:
    async def on_get(self, request, response):
        response.text = "hello"


class Events:
    async def on_get(self, request, response):
        response.sse = self.emit(Board.of(request.scope))

    async def emit(self, board):
        async for piece in busy(board):
            yield falcon.asgi.SSEvent(data=piece)


class Poll:
    async def on_get(self, request, response):
        await poll(Board.of(request.scope))
        response.text = "late"


site = falcon.asgi.App()
site.add_route("/hello", Hello())
site.add_route("/events", Events())
site.add_route("/poll", Poll())
app = Tracker(site)
