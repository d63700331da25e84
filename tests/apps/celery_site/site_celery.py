"""Flask with a Celery worker. They share a Redis, `REDIS_URL`, or a folder of messages, `NOTES`."""

import os
from pathlib import Path

from celery import Celery
from flask import Flask, jsonify, request


def with_folder(folder):
    for name in ("messages", "results", "control"):
        (folder / name).mkdir(exist_ok=True)
    made = Celery("site_celery", broker="filesystem://", backend=f"file://{folder / 'results'}")
    made.conf.broker_transport_options = {
        "data_folder_in": str(folder / "messages"),
        "data_folder_out": str(folder / "messages"),
        "control_folder": str(folder / "control"),
    }
    return made


if redis := os.environ.get("REDIS_URL"):
    celery = Celery("site_celery", broker=redis, backend=redis)
else:
    celery = with_folder(Path(os.environ["NOTES"]))
app = Flask(__name__)


@celery.task
def add(first, second):
    return {"sum": first + second, "pid": os.getpid()}


@app.get("/add")
def send():
    result = add.delay(request.args.get("first", type=int), request.args.get("second", type=int))
    return jsonify(result.get(timeout=30), os.getpid())
