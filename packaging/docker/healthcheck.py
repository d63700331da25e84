#!/usr/bin/env python3
"""Checks that a server answers at HEALTH_URL, for HEALTHCHECK in a Dockerfile.

Any status below 500 is healthy, a redirect or a 404 too. A status from 500 on, or no answer, exits
with code 1.
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
