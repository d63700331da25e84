"""A WSGI app that waits 20 ms, as for a database: 32 threads can give 1,600 requests/s."""

import time


def app(environ, start_response):
    time.sleep(0.02)
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", "13")])
    return [b"Hello, World!"]
