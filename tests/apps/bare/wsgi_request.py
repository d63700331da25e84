"""Shows what a WSGI app gets to see of a request."""

import json
import os
from wsgiref.util import request_uri

from cases import Cases

case = Cases()


def app(environ, start_response):
    """The special pages by name; every other path shows the whole environ."""
    return case.get(environ["PATH_INFO"], show_environ)(environ, start_response)


def rebuilt_url(environ):
    """The URL of this request as PEP 3333 puts it together when there is no Host header."""
    return request_uri({key: value for key, value in environ.items() if key != "HTTP_HOST"})


def show_environ(environ, start_response):
    """The whole environ: its own type, and the type and value of each entry."""
    shown = {
        "type": f"{type(environ).__module__}.{type(environ).__name__}",
        "kinds": {key: type(value).__name__ for key, value in environ.items()},
        "environ": {key: value for key, value in environ.items() if isinstance(value, str)},
        "wsgi.version": [type(environ["wsgi.version"]).__name__, *environ["wsgi.version"]],
        "flags": {
            name: environ.get(name)
            for name in (
                "wsgi.multithread",
                "wsgi.multiprocess",
                "wsgi.run_once",
                "wsgi.input_terminated",
            )
        },
        "marked": "test.mark" in environ,
        "url": request_uri(environ),
        "rebuilt": rebuilt_url(environ),
        "variables": sorted(os.environ),
    }
    # A later request must not see this.
    environ["test.mark"] = "here"
    body = json.dumps(shown).encode()
    start_response("200 OK", [("Content-Type", "application/json")])
    return [body]


@case
def ruins_its_environ(environ, start_response):
    """What a careless middleware might do; later requests must not notice."""
    environ["wsgi.input"].read()
    environ["wsgi.errors"] = environ["wsgi.input"] = None
    environ.clear()
    environ["PATH_INFO"] = 7
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"ruined"]
