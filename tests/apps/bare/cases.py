"""Many small apps in one module: each decorated function is an app of its own, by its name."""


class Cases(dict):
    """`@case` registers `def some_name(...)` as the app that answers `/some_name`."""

    def __call__(self, app):
        self[f"/{app.__name__}"] = app
        return app

    async def asgi(self, scope, receive, send):
        """The ASGI app that is all of them."""
        assert scope["type"] == "http"
        await self[scope["path"]](scope, receive, send)
