"""A WSGI app that only shows that WSGI apps of this process still answer."""


def app(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"alive"]
