"""Says which pod has answered."""

import os

from flask import Flask

app = Flask(__name__)


@app.get("/")
def index():
    return {"pod": os.environ.get("HOSTNAME", "none"), "worker": os.getpid()}
