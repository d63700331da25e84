"""What the tenants have in common: notes for the test in the folder that NOTES names."""

import os
import time
import uuid
from pathlib import Path

NAME = Path(__file__).parent.name
NOTES = Path(os.environ["NOTES"])
# Tells one load from the next.
ID = uuid.uuid4().hex
PATIENCE = 30.0


def note(event):
    with open(NOTES / event, "a") as file:
        file.write(f"{NAME}\n")


def is_blocked(what):
    return (NOTES / f"block-{what}-{NAME}").exists()


def while_importing():
    """Takes as long as the test wants."""
    note("imported")
    end = time.monotonic() + PATIENCE
    while is_blocked("import") and time.monotonic() < end:
        time.sleep(0.005)


def answer(path, query):
    values = {"/name": NAME, "/id": ID, "/env": os.environ.get(query, "")}
    return values.get(path, os.environ.get("VALUE", "")).encode()
