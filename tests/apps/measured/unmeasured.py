"""An app that does not use prometheus_client, and says whether somebody else has imported it."""

import sys


def app(environ, start_response):
    start_response("200 OK", [])
    return [str("prometheus_client" in sys.modules).encode()]
