"""A WSGI app that says which process it runs in."""

import os


def app(environ, start_response):
    start_response("200 OK", [])
    return [b"%d" % os.getpid()]
