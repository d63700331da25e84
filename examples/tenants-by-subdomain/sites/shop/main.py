"""The shop's site."""

from flask import Flask
from prices import PRICES

app = Flask(__name__)


@app.get("/")
def shop():
    return PRICES
