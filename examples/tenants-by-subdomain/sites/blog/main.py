"""The blog's site: its module has the name of the shop's, and is another one."""

from flask import Flask, request

app = Flask(__name__)


@app.get("/")
def blog():
    return f"Welcome to {request.host}\n"
