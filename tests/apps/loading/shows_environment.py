"""A WSGI app that answers with environment variables as it sees them."""

import json
import os

at_import = dict(os.environ)


def app(environ, start_response):
    names = environ["QUERY_STRING"].split("&")
    found = {name: [at_import.get(name), os.environ.get(name)] for name in names}
    start_response("200 OK", [("Content-Type", "application/json")])
    return [json.dumps(found).encode()]
