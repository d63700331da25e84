"""A tenant with Flask."""

from flask import Flask
from tenant import NAME

app = Flask(__name__)


@app.get("/")
def hello() -> dict[str, str]:
    return {"tenant": NAME}
