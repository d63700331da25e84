"""Apps behind attributes and factories."""

from types import SimpleNamespace


def make_app(text="made"):
    def app(environ, start_response):
        start_response("200 OK", [("Content-Type", "text/plain")])
        return [text.encode()]

    return app


def make_async_app():
    async def app(scope, receive, send):
        assert scope["type"] == "http"
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"made async"})

    return app


container = SimpleNamespace(inner=SimpleNamespace(app=make_app("nested"), make=make_app))
