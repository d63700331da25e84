"""One app of each shape whose interface the server finds out by itself."""

import functools


def wsgi_function(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"wsgi"]


class WsgiClass:
    """An app by its instances."""

    def __call__(self, environ, start_response):
        return wsgi_function(environ, start_response)

    def method(self, environ, start_response):
        return wsgi_function(environ, start_response)


async def asgi_function(scope, receive, send):
    assert scope["type"] == "http"
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"asgi"})


class AsgiClass:
    """An app by its instances."""

    async def __call__(self, scope, receive, send):
        await asgi_function(scope, receive, send)

    async def method(self, scope, receive, send):
        await asgi_function(scope, receive, send)


async def with_setting(setting, scope, receive, send):
    await asgi_function(scope, receive, send)


wsgi_instance = WsgiClass()
wsgi_method = wsgi_instance.method
asgi_instance = AsgiClass()
asgi_method = asgi_instance.method
asgi_partial = functools.partial(with_setting, "setting")
