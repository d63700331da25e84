"""A shop whose requests take their time: to look at, while they wait."""

import time

from flask import Flask, abort, request

app = Flask(__name__)


@app.get("/")
def index():
    return "open\n"


@app.get("/slow")
def slow():
    time.sleep(request.args.get("seconds", 1, type=float))
    return "done\n"


@app.get("/broken")
def broken():
    abort(500)
