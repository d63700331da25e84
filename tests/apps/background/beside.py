"""A command that says what it finds around it, and how it ends. `NOTES` names its board."""

import json
import os
import signal
import subprocess
import sys
import time

import board
import main

notes = board.Board(os.environ["NOTES"])
facts = {
    "main": main.__file__,
    "prefix": sys.prefix,
    "venv": os.environ.get("VIRTUAL_ENV"),
    "directory": os.getcwd(),
    "color": os.environ.get("COLOR"),
    "shape": os.environ.get("SHAPE"),
    "pipe": signal.getsignal(signal.SIGPIPE) == signal.SIG_IGN,  # Python's own choice
    "descriptors": [os.readlink(f"/proc/self/fd/{fd}") for fd in range(3)],
    "arguments": sys.argv[1:],
}


def end(number, frame):
    notes.note("ended", os.getpid())
    if "stubborn" not in sys.argv:
        sys.exit()


signal.signal(signal.SIGTERM, end)
if "parent" in sys.argv:
    child = subprocess.Popen(["sleep", "600"])
    notes.note("child", child.pid)
print("planted: printed", flush=True)
print("planted: complained", file=sys.stderr, flush=True)
notes.note("facts", json.dumps(facts))
notes.note("begun", os.getpid())
if "brief" in sys.argv:
    sys.exit(3)
while True:
    time.sleep(60)
