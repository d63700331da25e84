#!/usr/bin/env python3
"""Whether a server answers at HEALTH_URL, in the way that HEALTHCHECK in a Dockerfile wants it.

A redirect or a 404 will do. An error of the server's own, or none, ends in exit code 1.
"""

import http.client
import os
import sys
from urllib.parse import urlsplit

url = urlsplit(os.environ["HEALTH_URL"])
connection = http.client.HTTPConnection(url.netloc, timeout=4)
try:
    connection.request("GET", url.path or "/")
    status = connection.getresponse().status
except (OSError, http.client.HTTPException) as error:
    sys.exit(f"no answer from {url.geturl()}: {error}")
print(status)
sys.exit(status >= 500)
