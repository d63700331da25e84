"""Shows what a WSGI app gets to see of a request."""

import json


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
    }
    # A later request must not see this.
    environ["test.mark"] = "here"
    body = json.dumps(shown).encode()
    start_response("200 OK", [("Content-Type", "application/json")])
    return [body]
