"""A WSGI app whose process ends soon after it was imported, as long as a note says so."""

import os
import threading
import time
from pathlib import Path


def end():
    while not Path(os.environ["DOOM"]).exists():
        time.sleep(0.005)
    os._exit(4)


threading.Thread(target=end, daemon=True).start()


def app(environ, start_response):
    start_response("200 OK", [])
    return [b"alive"]
