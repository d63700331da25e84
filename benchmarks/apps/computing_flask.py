"""A Flask view that computes for about a millisecond, to measure what more workers gain."""

from flask import Flask

app = Flask(__name__)


@app.get("/")
def hello():
    sum(number * number for number in range(20_000))
    return "Hello, World!"
