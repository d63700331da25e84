"""A tenant's WSGI app; `/hold` answers when the test lets it."""

import time

from common import answer, is_blocked, note, while_importing

while_importing()


def app(environ, start_response):
    path = environ["PATH_INFO"]
    if path == "/hold":
        note("held")
        while is_blocked("request"):
            time.sleep(0.005)
        path = "/name"
    start_response("200 OK", [])
    return [answer(path, environ["QUERY_STRING"])]
