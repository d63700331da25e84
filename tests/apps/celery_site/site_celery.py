"""Flask with a Celery worker, which share a folder of messages. `NOTES` names it."""

import os
from pathlib import Path

from celery import Celery
from flask import Flask, jsonify, request

folder = Path(os.environ["NOTES"])
for name in ("messages", "results", "control"):
    (folder / name).mkdir(exist_ok=True)

celery = Celery("site_celery", broker="filesystem://", backend=f"file://{folder / 'results'}")
celery.conf.broker_transport_options = {
    "data_folder_in": str(folder / "messages"),
    "data_folder_out": str(folder / "messages"),
    "control_folder": str(folder / "control"),
}
app = Flask(__name__)


@celery.task
def add(first, second):
    return {"sum": first + second, "pid": os.getpid()}


@app.get("/add")
def send():
    result = add.delay(request.args.get("first", type=int), request.args.get("second", type=int))
    return jsonify(result.get(timeout=30), os.getpid())
