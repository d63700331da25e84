"""A FastAPI app that starts Pythons in every way, and names where its packages come from."""

from __future__ import annotations

import multiprocessing
import subprocess
import sys

import editable_sample
import fastapi
from fastapi import FastAPI

app = FastAPI()


def double(number: int) -> int:
    return 2 * number


@app.get("/")
def report() -> dict[str, object]:
    """Runs in a thread."""
    command = [sys.executable, "-c", "import fastapi; print(fastapi.__file__)"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    results = {}
    for method in ("spawn", "forkserver", "fork"):
        with multiprocessing.get_context(method).Pool(2) as pool:
            results[method] = pool.map(double, [1, 2, 3])
    return {
        "version": "{}.{}.{}".format(*sys.version_info),
        "prefix": sys.prefix,
        "executable": sys.executable,
        "fastapi": fastapi.__file__,
        "of_child": done.stdout.strip(),
        "editable": editable_sample.__file__,
        **results,
    }
