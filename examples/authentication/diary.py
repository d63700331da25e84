"""A diary for each user. Caddy has asked for the password: there is none here, and no session."""

from collections import defaultdict

from flask import Flask, request

app = Flask(__name__)
diaries = defaultdict(list)


@app.get("/")
def public():
    return "Everybody may read this.\n"


@app.get("/diary")
def read():
    # REMOTE_USER is Caddy's own word: no header that a client sends gets there.
    return {"user": request.remote_user, "diary": diaries[request.remote_user]}


@app.post("/diary")
def write():
    diaries[request.remote_user].append(request.form["text"])
    return read(), 201
